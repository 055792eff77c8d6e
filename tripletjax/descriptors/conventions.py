"""Conversion to the conventions of featomic and DScribe; see docs/conventions.md."""

from itertools import combinations_with_replacement, permutations

import numpy as np

from tripletjax.basis.angular import harmonic_slice
from tripletjax.invariants.correlations import bispectrum_index
from tripletjax.invariants.nice.products import couplings, reachable
from tripletjax.types import InputError


def density_blocks(values: np.ndarray, n_species: int, n_max: int) -> dict:
    """Density coefficients in the layout of featomic: one block per degree and species.

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
            "(l_max + 1)²: expected values of kind 'density' and their hyperparameters"
        )
    split = values.reshape(len(values), n_species, n_max, harmonics)
    return {
        (l, a): np.swapaxes(split[:, a, :, harmonic_slice(l)], 1, 2)
        for l in range(l_max + 1)
        for a in range(n_species)
    }


def power_spectrum_blocks(values: np.ndarray, n_species: int, n_max: int) -> dict:
    """Power spectrum in the layout of featomic: all n1, n2 for each pair of species a <= b.

    Here products c_q c_q' are stored once, q <= q' with q = (a, n), times √2 off the diagonal.
    featomic stores both orders of (n1, n2) for a = b, multiplies by √2 for a < b, and by (-1)^l.

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
        InputError: the number of columns does not match an integer number of degrees.
    """
    first, second = np.triu_indices(n_channels)
    degrees, rest = divmod(values.shape[1], len(first))
    if rest:
        raise InputError(
            f"{values.shape[1]} columns do not match {n_channels} channels (species times n_max): "
            "expected values of kind 'power_spectrum' and their hyperparameters"
        )
    packed = values.reshape(len(values), degrees, len(first))
    packed = packed / np.where(first < second, np.sqrt(2.0), 1.0)
    full = np.empty((len(values), degrees, n_channels, n_channels), values.dtype)
    full[:, :, first, second] = packed
    full[:, :, second, first] = packed
    return full


def full_bispectrum(values: np.ndarray, n_channels: int, l_max: int, parity: int = 1) -> dict:
    """B_{q1 q2 q3} of each l1 <= l2 <= l3 for all q, without the weights of the bispectrum.

    Args:
        values: ``[rows, columns]`` of kind "bispectrum".
        n_channels: species times n_max.
        l_max: highest degree.
        parity: as for ``correlations.bispectrum``; B of -1 changes sign with the order of factors.

    Returns:
        ``{(l1, l2, l3): [rows, q1, q2, q3]}``; times parity (-1)^l3, featomic's invariants of
        order 3 with l_1, l_2 and k_2 = l_3.

    Raises:
        InputError: the number of columns does not match.

    Example:
        >>> full = full_bispectrum(np.zeros((7, 5)), n_channels=1, l_max=2)
        >>> {degrees: block.shape for degrees, block in full.items()}[1, 1, 2]
        (7, 1, 1, 1)
    """
    full = {
        degrees: np.zeros((len(values), n_channels, n_channels, n_channels), values.dtype)
        for degrees in combinations_with_replacement(range(l_max + 1), 3)
        if degrees[2] <= degrees[0] + degrees[1] and (-1) ** sum(degrees) == parity
    }
    index = bispectrum_index(n_channels, l_max, parity)
    if values.shape[1] != len(index):
        raise InputError(
            f"{values.shape[1]} columns are not the {len(index)} of n_channels={n_channels} "
            f"(species times n_max), l_max={l_max} and parity={parity}: expected values of kind "
            "'bispectrum' and their hyperparameters"
        )
    for value, (degrees, channels) in zip(values.T, index, strict=True):
        factors = list(zip(degrees, channels, strict=True))
        weight = np.sqrt(len(set(permutations(factors))))
        for order in permutations(range(3)):
            if tuple(degrees[i] for i in order) == degrees:
                inversions = sum(order[i] > order[j] for i, j in ((0, 1), (0, 2), (1, 2)))
                place = tuple(channels[i] for i in order)
                full[degrees][:, *place] = parity**inversions * value / weight
    return full


def correlation_blocks(
    values: np.ndarray, key: tuple[int, int], nu: int, n_channels: int, l_max: int
) -> dict:
    """Uncontracted correlations of order ν in featomic's layout: one block per path of degrees.

    Here columns are ordered by the last coupling (λ1, l), then by the channel q of its density,
    then by the columns of the block of order ν-1. featomic has one block for each l_1, l_2, k_2,
    l_3 ... l_ν, where k_i is the degree after i factors, and orders columns by q_1, q_2 ... q_ν.
    Each of its couplings has a factor (-1)^(λ1 + l + λ), in total σ: pseudotensors change sign.

    Args:
        values: ``[rows, columns, 2λ+1]``: a block of ``nice.covariants`` or ``nice.expand``, or
            ``nice.correlations`` with a last axis of one, of all products with λ <= l_max between.
        key: its (σ, λ).
        nu: order, at least 2.
        n_channels: a·n of the density.
        l_max: its highest degree.

    Returns:
        ``{(l_1, l_2, k_2, l_3, ..., l_ν): [rows, 2λ+1, n_channels^ν]}``, the values of featomic's
        DensityCorrelations of ν - 1 steps with ``angular_cutoff=l_max``; with ``skip_redundant`` it
        has only those of l_1 <= l_2 <= ... <= l_ν.

    Raises:
        InputError: the number of columns does not match.

    Example:
        >>> pairs = correlation_blocks(np.zeros((5, 8, 3)), (1, 1), nu=2, n_channels=2, l_max=1)
        >>> {path: block.shape for path, block in pairs.items()}
        {(0, 1): (5, 3, 4), (1, 0): (5, 3, 4)}
    """
    labels = {(1, l): [((l,), (q,)) for q in range(n_channels)] for l in range(l_max + 1)}
    for order in range(2, nu + 1):
        keys = [key] if order == nu else reachable(labels, l_max, l_max)
        labels = {
            k: [
                ((*path, l) if order == 2 else (*path, source[1], l), (*channels, q))
                for source, _, l in couplings(k, labels, l_max)
                for q in range(n_channels)
                for path, channels in labels[source]
            ]
            for k in keys
        }
    if values.ndim != 3 or values.shape[1] != len(labels[key]):
        raise InputError(
            f"values of shape {values.shape} are not [rows, {len(labels[key])}, 2λ+1], as for all "
            f"products of order nu={nu} with n_channels={n_channels} and l_max={l_max}: expected "
            "correlations without a contraction"
        )
    columns: dict[tuple, list] = {}
    for column, (path, channels) in enumerate(labels[key]):
        columns.setdefault(path, []).append((channels, column))
    return {
        path: key[0] * np.swapaxes(values[:, [column for _, column in sorted(found)]], 1, 2)
        for path, found in columns.items()
    }
