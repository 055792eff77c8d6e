"""Interfaces of potentials to other programs: ASE, jax-md, LAMMPS."""
