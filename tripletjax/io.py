"""Files: reading frames, atomic writes."""

import os, tempfile
from pathlib import Path
import numpy as np


def save_npz(path, **arrays):
    np.savez_compressed(path, **arrays)
