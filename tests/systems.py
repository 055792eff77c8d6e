"""The structures and hyperparameters that the contract tests run over."""

from dataclasses import dataclass, fields
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.build import molecule

from tripletjax import descriptor
from tripletjax.descriptors.kinds import KINDS, read_by
from tripletjax.testing import FAST_COMPILATION, random_rotation
from tripletjax.types import Hypers

# For programs that run a few times; not within another jit.
quick_jit = partial(jax.jit, compiler_options=FAST_COMPILATION)

# Small, so that programs compile fast; ``read_by`` picks those that a kind reads.
HYPERS = {"cutoff": 3.0, "n_max": 2, "l_max": 3, "n_features": 32, "nu": 2}
HYPER_NAMES = [field.name for field in fields(Hypers)]
SPECIES = (1, 6, 8)
INVARIANT_KINDS = tuple(kind for kind in KINDS if kind != "density")
CHIRAL_KINDS = ("bispectrum", "triplets", "triplet_sum", "fingerprint")


def methanol(seed: int = 0) -> Atoms:
    """Six atoms of three species, all within the cutoff of each other, without any symmetry."""
    atoms = molecule("CH3OH")
    shaken = np.random.default_rng(seed).normal(scale=0.1, size=(len(atoms), 3))
    atoms.positions = (atoms.positions + shaken) @ random_rotation(seed).T
    return atoms


def slab() -> Atoms:
    """Two atoms in a skewed cell shorter than the cutoff, periodic along x and z only."""
    cell = [[2.5, 0.3, 0.0], [0.0, 9.0, 0.0], [0.2, -0.2, 2.8]]
    positions = [[0.1, 0.2, 0.3], [0.7, 2.4, 1.2]]
    return Atoms("CO", positions=positions, cell=cell, pbc=(True, False, True))


SYSTEMS = {
    "methanol": methanol(),
    "slab": slab(),
    "isolated atom": Atoms("O", positions=[[0.3, -0.2, 0.5]]),
    "dimer": molecule("CO"),
    "collinear": molecule("CO2"),
}


@dataclass(frozen=True)
class Angles:
    """Of a user: Σ_j w_j and Σ_jk w_j w_k (r_j·r_k)^p by species, invariant under O(3)."""

    cutoff: float = HYPERS["cutoff"]
    elements: tuple[int, ...] = SPECIES

    def environment(self, vectors, species, mask, center=0):
        vectors = jnp.where(mask[:, None], vectors, 0)
        squared = jnp.sum(vectors**2, -1) / self.cutoff**2
        weights = jnp.where(mask & (squared < 1), (1 - squared) ** 4, 0)
        n_species, dtype = len(self.elements), vectors.dtype
        kinds = jax.nn.one_hot(species, n_species, dtype=dtype) * weights[:, None]
        cosines = jnp.matmul(vectors, vectors.T, precision="highest") / self.cutoff**2
        pairs = [
            jnp.einsum("ja,jk,kb->ab", kinds, cosines**p, kinds, precision="highest").ravel()
            for p in (1, 2, 3)
        ]
        own = jax.nn.one_hot(center, n_species, dtype=dtype)
        return jnp.concatenate([own, kinds.sum(0), *pairs])


OWN = "own"  # stands for a descriptor of a user among the kinds


def read(kind: str, **keywords) -> dict:
    """For ``describe``: HYPERS, changed by the given ones, as far as a kind reads them."""
    if kind == OWN:
        return {"kind": Angles()} | {n: v for n, v in keywords.items() if n not in HYPER_NAMES}
    others = {name: value for name, value in keywords.items() if name not in HYPER_NAMES}
    return {"kind": kind} | others | read_by(kind, HYPERS | keywords)


def build(kind: str, **hypers):
    """The descriptor of one kind over SPECIES with HYPERS, changed by the given ones."""
    if kind == OWN:
        return Angles(**{name: value for name, value in hypers.items() if name == "cutoff"})
    return descriptor(elements=SPECIES, **read(kind, **hypers))


def environment(dtype=float, seed: int = 1, n_neighbors: int = 5):
    """Vectors [K, 3] inside the cutoff, none close to another, species [K] and mask [K]."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(n_neighbors, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    distances = np.sort(random.uniform(1.0, 2.9, size=n_neighbors))
    species = random.integers(0, len(SPECIES), size=n_neighbors)
    vectors = (distances[:, None] * directions).astype(dtype)
    return vectors, species.astype(np.int32), np.ones(n_neighbors, bool)
