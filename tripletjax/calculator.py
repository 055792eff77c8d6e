"""The ASE calculator under its public name: see ``tripletjax.engines.ase``."""

from tripletjax.engines.ase import TripletCalculator

__all__ = ["TripletCalculator"]
