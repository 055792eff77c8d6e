"""Functions of one distance or direction, and the density coefficients that they expand."""
