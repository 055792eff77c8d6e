"""Draw B8 pairs: the recipe of the paper, which reproduces its own 4000 pairs at seed 12345."""

import numpy as np
from scipy.spatial.distance import pdist

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


def is_accepted(positions: np.ndarray) -> bool:
    """Whether a + member [8, 3] has its centre distances in range and no two atoms too close."""
    to_center = np.linalg.norm(positions[1:], axis=-1)
    in_range = (to_center > CENTER_DISTANCES[0]).all() and (to_center < CENTER_DISTANCES[1]).all()
    return bool(in_range and pdist(positions).min() > MIN_DISTANCE)


def sample_b8(n_pairs: int = 4000, seed: int = 12345) -> np.ndarray:
    """Accepted parameters ``[n_pairs, 6]``, drawn with NumPy's legacy ``RandomState``."""
    random = np.random.RandomState(seed)
    accepted: list[np.ndarray] = []
    while len(accepted) < n_pairs:
        drawn = np.array([random.uniform(low, high) for low, high in RANGES.values()])
        if is_accepted(b8_positions(drawn)[0]):
            accepted.append(drawn)
    return np.stack(accepted)
