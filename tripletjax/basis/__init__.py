"""Radial functions, spherical harmonics, and the density coefficients built from them."""
