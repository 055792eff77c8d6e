"""Where a potential leaves the house: ASE, jax-md."""
