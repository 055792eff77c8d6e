"""How new environments are to the training set of a kernel potential.

The kernel of a training set's environments Z leaves of another one, of the same species,

    s²(p) = k(p, p) - k(p, Z) k(Z, Z)⁻¹ k(Z, p),

the squared distance of p from all that is known, in the space of the kernel. Without environment z
itself this is s²(z) = 1 / [k(Z, Z)⁻¹]_zz, by which distances are measured: environments like those
of the training set have a novelty of about one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from tripletjax.kernels.designs import environment_vectors
from tripletjax.kernels.factors import stable_root
from tripletjax.kernels.model import KernelModel
from tripletjax.neighbors import prepare
from tripletjax.potentials.base import Potential
from tripletjax.potentials.precision import computing_in
from tripletjax.types import Array, Batch, InputError, as_integer

MOST = 1000  # environments of a species that others are compared with
JITTER = 1e-10  # on the diagonal of k(Z, Z), of its mean: smaller squares are rounding errors


class Known(NamedTuple):
    """Environments of one species in a training set."""

    points: np.ndarray  # [M, D] z
    inverse: np.ndarray  # [M, M] L⁻¹ with L Lᵀ = k(Z, Z)
    unit: float  # root mean square of s(z) without z
    least: float  # s² that rounding errors hide


class Novelty:
    """The distance of environments from those of a training set, per atom; zero on padding.

    About one where an environment is as far from the training set as its environments are from
    each other, several where it is unlike them all. It depends on no label: atoms of a perfect
    crystal, whose forces vanish by symmetry, have one too.

    Args:
        potential: of ``fit_full_potential`` or ``fit_sparse_potential``.
        most: environments of each species to compare with, drawn at random if there are more.
        seed: of the draw.

    Raises:
        InputError: the potential has no environments.

    Source: for s, Schaback, Adv. Comput. Math. 3, 251 (1995); for leaving one out, Rasmussen and
    Williams, Gaussian Processes for Machine Learning (2006), equation 5.12.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import descriptor
        >>> from tripletjax.kernels import fit_full_potential
        >>> frames = [molecule("H2O") for _ in range(9)]
        >>> for seed, frame in enumerate(frames):
        ...     frame.rattle(0.05, seed=seed)
        >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=2, l_max=1)
        >>> potential = fit_full_potential(frames[:8], np.linspace(0, 0.1, 8), describer=soap)
        >>> stretched = molecule("H2O")
        >>> stretched.positions[1] *= 1.5
        >>> known, new = Novelty(potential).of_frames([frames[8], stretched])
        >>> bool(known.max() < new.max())
        True
    """

    def __init__(self, potential: Potential, most: int = MOST, seed: int = 0):
        model: Any = potential.model
        if not isinstance(model, KernelModel):
            raise InputError(
                f"the potential is a {type(model).__name__}, which keeps no environments of its "
                "training set: expected one of fit_full_potential or fit_sparse_potential"
            )
        most = as_integer("most", most, 1)
        self._model, self._scale = model, np.asarray(potential.weights["scale"], float)
        points, kinds = np.asarray(potential.weights["points"], float), np.array(model.kinds)
        random = np.random.Generator(np.random.PCG64(seed))
        with jax.enable_x64(True):
            self._known = {
                kind: _known(model.kernel, _some(points[kinds == kind], most, random))
                for kind in np.unique(kinds).tolist()
            }
        self._of_batch = jax.jit(self._distances)

    def __call__(self, batch: Batch) -> Array:
        """Novelty of every centre of a batch, [C]."""
        return self._of_batch(batch)

    def of_frames(self, frames: Atoms | Sequence[Atoms]) -> list[np.ndarray]:
        """Novelty of every atom [N] of each structure, in float64."""
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        found = []
        with computing_in(np.dtype(float)):
            for frame in frames:
                batch = prepare([frame], self._model.cutoff, self._model.species, float)
                found.append(np.asarray(self(batch))[batch.center_mask])
        return found

    def _distances(self, batch: Batch) -> Array:
        vectors, kinds = environment_vectors(self._model.describer, batch)
        vectors = vectors / jnp.asarray(self._scale, vectors.dtype)
        found = jnp.full(len(vectors), jnp.inf, vectors.dtype)  # of a species without environments
        for kind, known in self._known.items():
            found = jnp.where(kinds == kind, self._of_species(known, vectors), found)
        return jnp.where(kinds >= 0, found, 0)

    def _of_species(self, known: Known, vectors: Array) -> Array:
        matrix = self._model.kernel.matrix
        points, inverse = (jnp.asarray(part, vectors.dtype) for part in known[:2])
        own = jax.vmap(lambda p: matrix(p[None], p[None])[0, 0])(vectors)
        whitened = jnp.matmul(matrix(vectors, points), inverse.T, precision="highest")
        squares = own - jnp.sum(whitened**2, -1)
        return jnp.sqrt(jnp.maximum(squares, known.least)) / known.unit


def _some(rows: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else rows[np.sort(random.choice(len(rows), most, False))]


def _known(kernel: Any, points: np.ndarray) -> Known:
    """The environments of one species, and what distances among them are typical."""
    matrix = np.asarray(kernel.matrix(points, points), float)
    least = JITTER * (float(np.trace(matrix)) / len(matrix) or 1.0)
    root, _ = stable_root(matrix, least)
    inverse = solve_triangular(root, np.eye(len(root)), lower=True)
    without_itself = 1 / (inverse**2).sum(0)  # 1 / [k(Z, Z)⁻¹]_zz
    return Known(points, inverse, float(np.sqrt(without_itself.mean())), least)
