"""Dipoles and polarisabilities: tensors of a molecule, learned as energies are."""
