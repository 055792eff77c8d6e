"""Dipoles and polarisabilities: tensors of a molecule, fitted like energies."""
