"""The repulsion of nuclei that are closer than a bond, which fits do not see.

With Z the atomic numbers, R the sum of two covalent radii and s a smooth step from 1 to 0,

    E_i = 1/2 Σ_j k Z_i Z_j / r · φ(r / a) · s(r / R),    a = 0.8854 a₀ / (Z_i^0.23 + Z_j^0.23),

φ being the universal screening function. Nuclei that coincide have a large but finite energy.

Source: Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Solids (1985).
"""

import jax.numpy as jnp
import numpy as np
from ase.data import covalent_radii
from ase.units import Bohr, Hartree

from tripletjax.numerics import smooth_step
from tripletjax.types import Array, Environments

COULOMB = Hartree * Bohr  # k = e² / 4πε₀, eV Å
LENGTH, POWER = 0.8854 * Bohr, 0.23  # Å, of the screening length
SCREENING = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4029), (0.02817, 0.2016))
CLOSEST = 1e-3  # Å, added to distances in squares


def repulsion_energies(environments: Environments, species: tuple[int, ...]) -> Array:
    """Half of the repulsion of every atom with its neighbours, [C] eV; zero on padding.

    Args:
        environments: with indices into the species.
        species: atomic numbers, ascending.

    Example:
        >>> close = Environments(*map(np.array, ([[[1.0, 0, 0]]], [[0]], [[True]], [0], [[0]])))
        >>> repulsion_energies(close, (14,)).astype(float).round(1).tolist()
        [15.5]
    """
    numbers, radii = np.array(species), covalent_radii[np.array(species)]
    vectors, kinds, mask = (jnp.asarray(part) for part in environments[:3])
    centers = jnp.asarray(environments.center)[:, None]

    def of_pairs(table: np.ndarray) -> Array:
        """Entries [E, E] for every pair, [C, K]."""
        return jnp.asarray(table, vectors.dtype)[centers, kinds]

    charges = of_pairs(COULOMB * np.outer(numbers, numbers))
    lengths = of_pairs(LENGTH / np.add.outer(numbers**POWER, numbers**POWER))
    ranges = of_pairs(np.add.outer(radii, radii))
    r = jnp.sqrt(jnp.sum(vectors**2, -1) + CLOSEST**2)
    screened = sum(share * jnp.exp(-rate * r / lengths) for share, rate in SCREENING)
    energies = charges / r * screened * smooth_step(r / ranges)
    return 0.5 * jnp.sum(jnp.where(mask, energies, 0), 1)
