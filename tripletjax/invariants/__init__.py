"""Invariants and equivariants of environments: correlations, triplets, fingerprints."""
