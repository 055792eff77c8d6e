"""Structure and dynamics of a liquid from frames: pure NumPy functions of arrays."""

import numpy as np


def pair_distribution(
    positions: np.ndarray, cells: np.ndarray, kinds: tuple[np.ndarray, np.ndarray], edges
) -> np.ndarray:
    """g(r) between two sets of atoms: pairs in shells over those of an ideal gas.

    Args:
        positions: ``[T, N, 3]`` Å.
        cells: ``[T, 3, 3]`` Å, with faces at least 2 max(edges) apart.
        kinds: the two index arrays.
        edges: ``[B + 1]`` Å, of the shells.

    Returns:
        ``[B]``.
    """
    first, second = kinds
    shells = 4 / 3 * np.pi * np.diff(np.asarray(edges) ** 3)
    same = np.array_equal(first, second)
    total = np.zeros(len(shells))
    for at, cell in zip(positions, cells, strict=True):
        apart = at[second][None] - at[first][:, None]
        fractional = apart @ np.linalg.inv(cell)
        distances = np.linalg.norm((fractional - np.round(fractional)) @ cell, axis=-1)
        if same:
            np.fill_diagonal(distances, np.inf)
        density = (len(second) - same) / abs(np.linalg.det(cell))
        counts = np.histogram(distances, edges)[0]
        total += counts / (len(first) * density * shells)
    return total / len(positions)


def squared_displacement(positions: np.ndarray, most: int) -> np.ndarray:
    """⟨|r(t + s) - r(s)|²⟩ over atoms and origins s, for t = 0 ... most - 1 frames, Å².

    Args:
        positions: ``[T, N, 3]`` Å, not wrapped.
        most: number of times.

    Example:
        >>> squared_displacement(np.arange(4.0)[:, None, None] * np.ones((1, 2, 3)), 3).tolist()
        [0.0, 3.0, 12.0]
    """
    found = [0.0]
    for lag in range(1, most):
        found.append(float(np.mean(np.sum((positions[lag:] - positions[:-lag]) ** 2, -1))))
    return np.array(found)


def velocity_spectrum(velocities: np.ndarray, masses: np.ndarray, step: float):
    """Power of the mass-weighted velocities by frequency, of equal area for every temperature.

    Args:
        velocities: ``[T, N, 3]``.
        masses: ``[N]``.
        step: fs between frames.

    Returns:
        Wavenumbers in 1/cm and the power, both ``[T // 2 + 1]``.
    """
    count = len(velocities)
    window = np.hanning(count)[:, None, None]
    waves = np.fft.rfft(velocities * window * np.sqrt(masses)[:, None], axis=0)
    power = np.sum(np.abs(waves) ** 2, axis=(1, 2))
    wavenumbers = np.fft.rfftfreq(count, step) / 2.99792458e-5  # 1/fs over cm/fs
    return wavenumbers, power / np.trapezoid(power, wavenumbers)


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over ``width`` points."""
    return np.convolve(values, np.ones(width) / width, mode="same")
