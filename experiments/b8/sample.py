"""Draw B8 pairs: the recipe of the paper, which reproduces its own 4000 pairs at seed 12345."""

import numpy as np

from tripletjax.data.b8 import b8_positions

# In the order in which they are drawn: lengths in Å, angles in rad.
RANGES = {
    "r": (0.5, 2.0),
    "z1": (0.5, 2.0),
    "z2": (1.5, 1.8),
    "psi": (0.0, np.pi),
    "phi1": (np.pi / 6, np.pi),
    "phi2": (np.pi / 6, np.pi),
}
CENTER_DISTANCES = (1.5, 1.8)
MIN_DISTANCE = 1.2


def are_accepted(positions: np.ndarray) -> np.ndarray:
    """Which + members [..., 8, 3] have their centre distances in range and no atoms too close."""
    to_center = np.linalg.norm(positions[..., 1:, :], axis=-1)
    low, high = CENTER_DISTANCES
    in_range = ((to_center > low) & (to_center < high)).all(-1)
    first, second = np.triu_indices(positions.shape[-2], 1)
    between = np.linalg.norm(positions[..., first, :] - positions[..., second, :], axis=-1)
    return in_range & (between.min(-1) > MIN_DISTANCE)


def sample_b8(n_pairs: int = 4000, seed: int = 12345) -> np.ndarray:
    """Accepted parameters ``[n_pairs, 6]``, drawn with NumPy's legacy ``RandomState``."""
    random = np.random.RandomState(seed)
    low, high = np.array(list(RANGES.values())).T
    accepted = np.zeros((0, len(RANGES)))
    while len(accepted) < n_pairs:
        drawn = random.uniform(low, high, size=(4096, len(RANGES)))
        kept = are_accepted(b8_positions(drawn)[:, 0])
        accepted = np.concatenate([accepted, drawn[kept]])
    return accepted[:n_pairs]
