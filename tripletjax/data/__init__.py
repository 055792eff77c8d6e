"""Small data sets that ship with the package, so that an installed wheel runs the demo."""
