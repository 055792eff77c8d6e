"""Slow, plain NumPy formulas that the fast code is tested against; they import nothing of it."""
