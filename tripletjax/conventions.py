"""From this package's conventions to those of featomic and DScribe; see docs/conventions.md."""

import numpy as np

from tripletjax.angular import harmonic_slice
from tripletjax.types import InputError


def density_blocks(values: np.ndarray, n_species: int, n_max: int) -> dict:
    """Density coefficients as featomic lays them out: one block a degree and species.

    Args:
        values: ``[rows, a·n·lm]`` of kind "density".
        n_species: number of species channels.
        n_max: number of radial functions.

    Returns:
        ``{(l, a): [rows, 2l + 1, n_max]}``, the values of featomic's SphericalExpansion.

    Raises:
        InputError: the number of columns does not match.

    Example:
        >>> density_blocks(np.zeros((5, 2 * 3 * 4)), n_species=2, n_max=3)[1, 0].shape
        (5, 3, 3)
    """
    harmonics, rest = divmod(values.shape[1], n_species * n_max)
    l_max = int(np.sqrt(harmonics)) - 1
    if rest or (l_max + 1) ** 2 != harmonics:
        raise InputError(
            f"{values.shape[1]} columns are not n_species={n_species} times n_max={n_max} times "
            "(l_max + 1)²; give the values of kind 'density' with their hyperparameters"
        )
    split = values.reshape(len(values), n_species, n_max, harmonics)
    return {
        (l, a): np.swapaxes(split[:, a, :, harmonic_slice(l)], 1, 2)
        for l in range(l_max + 1)
        for a in range(n_species)
    }


def power_spectrum_blocks(values: np.ndarray, n_species: int, n_max: int) -> dict:
    """Power spectrum as featomic lays it out: all n1, n2 for each pair of species a <= b.

    Here products c_q c_q' are kept once, q <= q' with q = (a, n), times √2 off the diagonal.
    featomic keeps both orders of (n1, n2) where a = b, multiplies by √2 where a < b, and by (-1)^l.

    Args:
        values: ``[rows, columns]`` of kind "power_spectrum".
        n_species: number of species channels.
        n_max: number of radial functions.

    Returns:
        ``{(a, b): [rows, l, n1, n2]}``; flattened, the values of featomic's SoapPowerSpectrum with
        properties ordered l, n_1, n_2.

    Raises:
        InputError: the number of columns does not match.

    Example:
        >>> power_spectrum_blocks(np.zeros((5, 2 * 10)), n_species=2, n_max=2)[0, 1].shape
        (5, 2, 2, 2)
    """
    full = full_power_spectrum(values, n_species * n_max)  # [rows, l, q, q']
    full = full * (-1.0) ** np.arange(full.shape[1])[:, None, None]
    split = full.reshape(*full.shape[:2], n_species, n_max, n_species, n_max)
    return {
        (a, b): split[:, :, a, :, b] * (np.sqrt(2.0) if a < b else 1.0)
        for a in range(n_species)
        for b in range(a, n_species)
    }


def full_power_spectrum(values: np.ndarray, n_channels: int) -> np.ndarray:
    """The symmetric p_{qq'l} = Σ_m c_{qlm} c_{q'lm} / √(2l+1), ``[rows, l, q, q']``.

    Raises:
        InputError: the number of columns is not a whole number of degrees.
    """
    first, second = np.triu_indices(n_channels)
    degrees, rest = divmod(values.shape[1], len(first))
    if rest:
        raise InputError(
            f"{values.shape[1]} columns do not fit {n_channels} channels (species times n_max); "
            "give the values of kind 'power_spectrum' with their hyperparameters"
        )
    packed = values.reshape(len(values), degrees, len(first))
    packed = packed / np.where(first < second, np.sqrt(2.0), 1.0)
    full = np.empty((len(values), degrees, n_channels, n_channels), values.dtype)
    full[:, :, first, second] = packed
    full[:, :, second, first] = packed
    return full
