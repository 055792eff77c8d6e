"""Does the fingerprint determine this environment? A sufficient condition based on its symmetry.

A triplet determines the truncated density c_{a,nlm} up to O(3): two environments with equal
fingerprints can be rotated so that their densities agree. The remaining freedom is that of the
isometries Q of the density, D(Q) c = c, which may still map each pair of tags to another position.
They are harmless if they are also isometries of the environment.

A neighbour j is called an *anchor* if every isometry of the density that maps a neighbour i of the
same species to j maps the environment to itself.

**Theorem.** Let all neighbours be tagged, the fingerprint be injective on multisets of triplets,
and no two neighbours coincide. If there are two anchors that are not on a line through the centre,
or if all neighbours are on one line and there is one anchor, then any environment with the same
fingerprint is the same up to O(3).

*Proof.* Let E be the environment and E' another one with the same fingerprint. For the anchors j, k
the triplet (j, k) occurs in E'; apply to E' the isometry that maps one triplet onto the other: E'
then has neighbours at j and k, and the density of E. Any further neighbour x of E' is not on a line
with one of the two, say j. The triplet (j, x) of E' equals some (i, y) of E: there is an isometry Q
of the density with Q i = j and Q y = x. As j is an anchor, Q y is in E, so E' is a subset of E;
their numbers of triplets are equal, so E' = E. On one line, level 1 determines the density, which
is symmetric about the line, and the same argument needs only j. ∎

If the density has no isometries beyond those of the environment, all neighbours are anchors. The
condition is sufficient, not necessary: an environment that is not certified may still be
determined.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import harmonic_slice
from tripletjax.basis.densities import density_coefficients
from tripletjax.types import Array, Basis, InputError

TOLERANCE = 1e-6  # of |c|: two densities that differ by less are considered equal
PLACE_TOLERANCE = 1e-4  # Å: two positions that differ by less are considered equal
NEWTON_STEPS = 8
OF_A_CIRCLE = (0.0, 1.0, 2.5)  # rad; only environments on a line allow the last two
POINTS_PER_DEGREE = 16  # in the search for the angle of an isometry


class Certificate(NamedTuple):
    """The symmetry of one environment and of its density; host side, float64."""

    certified: bool  # the fingerprint determines the environment
    n_neighbors: int  # inside the cutoff
    anchors: np.ndarray  # [n_neighbors] bool, in the order given
    density_symmetry: int  # dimension of the continuous symmetry of the density: 0, 1 or 3
    environment_symmetry: int  # the same for the environment: 1 for a line, 3 without neighbours
    isometries: np.ndarray  # [S, 3, 3] of the density; each maps a neighbour to a neighbour
    shared: np.ndarray  # [S] bool: also an isometry of the environment
    enough_coefficients: bool  # 3 (untagged of a species) <= n_max (l_max + 1)², every species

    @property
    def same_symmetry(self) -> bool:
        """Whether all isometries found for the density are also isometries of the environment."""
        continuous = self.density_symmetry == self.environment_symmetry
        return continuous and bool(self.shared.all())


def certificate(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    tags: int | None = None,
    tolerance: float = TOLERANCE,
) -> Certificate:
    """Whether the fingerprint with this basis determines one environment.

    Args:
        vectors, species, mask: the environment, [K, 3] Å, [K] and [K].
        basis: the density expansion of the fingerprint.
        tags: tags of the fingerprint; with fewer tags than neighbours nothing is certified, and
            ``enough_coefficients`` is a necessary condition.
        tolerance: densities that differ by less, relative to |c|, are considered equal.

    Returns:
        A ``Certificate``.

    Example:
        >>> basis = Basis(cutoff=3.0, radial="chebyshev")
        >>> water = np.array([[0.8, 0.6, 0.0], [-0.8, 0.6, 0.0]])
        >>> found = certificate(water, np.zeros(2, int), np.ones(2, bool), basis)
        >>> found.certified, len(found.isometries)  # C2v has four isometries
        (True, 4)
    """
    environment = _TurnedDensities.of(vectors, species, mask, basis)
    return environment.certificate(basis.l_max, tags, tolerance)


def resolution_needed(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    l_max: Iterable[int] = range(1, 13),
    tolerance: float = TOLERANCE,
) -> int | None:
    """The smallest of the given l_max at which the environment is certified, with all tags.

    Args:
        vectors, species, mask, basis, tolerance: as for ``certificate``; the basis's l_max is
            ignored.
        l_max: degrees to try.

    Returns:
        The smallest sufficient l_max, or None if none of them suffices.

    Raises:
        InputError: no degrees given.

    Example:
        >>> ring = np.linspace(0, 2 * np.pi, 5, endpoint=False)  # a regular pentagon
        >>> ring = np.stack([np.cos(ring), np.sin(ring), 0 * ring], 1)
        >>> ring[0] *= 1.2
        >>> basis = Basis(cutoff=3.0, radial="chebyshev")
        >>> resolution_needed(ring, np.zeros(5, int), np.ones(5, bool), basis)
        1
    """
    degrees = sorted(l_max)
    if not degrees:
        raise InputError("l_max is empty: expected degrees to try, such as range(1, 13)")
    largest = replace(basis, l_max=degrees[-1])
    environment = _TurnedDensities.of(vectors, species, mask, largest)
    for degree in degrees:
        if environment.certificate(degree, None, tolerance).certified:
            return degree
    return None


class _TurnedDensities(NamedTuple):
    """Neighbours inside the cutoff, with the density in the frame of each."""

    vectors: np.ndarray  # [n, 3]
    species: np.ndarray  # [n]
    frames: np.ndarray  # [n, 3, 3] proper rotations that map each neighbour to +z
    turned: np.ndarray  # [n, a, n_max, lm] density in that frame
    slopes: np.ndarray  # [3, a, n_max, lm] of the density along the infinitesimal rotations
    n_max: int

    @classmethod
    def of(cls, vectors, species, mask, basis: Basis) -> "_TurnedDensities":
        vectors, species = np.asarray(vectors, float), np.asarray(species)
        inside = np.asarray(mask) & (np.linalg.norm(vectors, axis=-1) < basis.cutoff)
        vectors, species = vectors[inside], species[inside]
        n_species = int(species.max(initial=0)) + 1
        frames = np.stack([_frame(v) for v in vectors]) if len(vectors) else np.zeros((0, 3, 3))
        with jax.enable_x64(True):
            turned, slopes = _turned_densities(vectors, species, frames, basis, n_species)
        return cls(vectors, species, frames, np.asarray(turned), np.asarray(slopes), basis.n_max)

    def certificate(self, l_max: int, tags: int | None, tolerance: float) -> Certificate:
        size = (l_max + 1) ** 2
        norm = float(np.linalg.norm(self.turned[:1, ..., :size]))
        rotations = np.stack([np.cross(axis, self.vectors).ravel() for axis in np.eye(3)])
        slopes = self.slopes[..., :size].reshape(3, -1)
        waves = [_azimuthal(turned, l_max) for turned in self.turned]
        found = [self._isometries_to(j, waves, tolerance) for j in range(len(waves))]
        shares = [self._are_isometries(turns) for turns in found]
        anchors = np.array([share.all() for share in shares], bool)
        isometries = np.concatenate([np.zeros((0, 3, 3)), *found])
        kept = _distinct(isometries)
        shared = np.concatenate([np.zeros(0, bool), *shares])[kept]
        n_tags = len(self.vectors) if tags is None else tags
        nearest = np.argsort(np.linalg.norm(self.vectors, axis=1), kind="stable")
        n_untagged = np.bincount(self.species[nearest[n_tags:]], minlength=1).max()
        collinear = _rank(rotations, PLACE_TOLERANCE) < 3
        enough = _n_directions(self.vectors[anchors]) >= (1 if collinear else 2)
        return Certificate(
            certified=bool(enough or not len(anchors)) and n_tags >= len(anchors),
            n_neighbors=len(anchors),
            anchors=anchors,
            density_symmetry=3 - _rank(slopes, tolerance * norm),
            environment_symmetry=3 - _rank(rotations, PLACE_TOLERANCE),
            isometries=isometries[kept],
            shared=shared,
            enough_coefficients=bool(3 * n_untagged <= self.n_max * size),
        )

    def _isometries_to(self, j: int, waves: list[np.ndarray], tolerance: float) -> np.ndarray:
        """Isometries of the density that map some neighbour of j's species to j, [S, 3, 3].

        For two neighbours at the same distance, the densities in their frames can only differ by a
        rotation about the axis, possibly after a reflection: a search over one angle.
        """
        distances = np.linalg.norm(self.vectors, axis=1)
        near = abs(distances - distances[j]) < PLACE_TOLERANCE
        alike = np.flatnonzero(near & (self.species == self.species[j]))
        sources = np.stack([waves[i] for i in alike])
        which, angles = _angles(np.concatenate([sources, sources.conj()]), waves[j], tolerance)
        mirror = np.where(which < len(alike), 1.0, -1.0)
        turn = np.zeros((len(which), 3, 3))  # about the axis, after y -> mirror y
        turn[:, 0, 0], turn[:, 0, 1] = np.cos(angles), -mirror * np.sin(angles)
        turn[:, 1, 0], turn[:, 1, 1] = np.sin(angles), mirror * np.cos(angles)
        turn[:, 2, 2] = 1
        return self.frames[j].T @ turn @ self.frames[alike[which % len(alike)]]

    def _are_isometries(self, turns: np.ndarray) -> np.ndarray:
        """Whether each maps every neighbour onto one of the same species, [S]."""
        moved = self.vectors @ np.swapaxes(turns, 1, 2)  # [S, n, 3]
        arrived = np.ones(moved.shape[:2], bool)
        for j in range(len(self.vectors)):
            apart = np.linalg.norm(moved[:, j, None] - self.vectors, axis=-1)
            arrived[:, j] = (apart[:, self.species == self.species[j]] < PLACE_TOLERANCE).any(1)
        return np.all(arrived, axis=1)


@partial(jax.jit, static_argnames=("basis", "n_species"))
def _turned_densities(vectors, species, frames, basis: Basis, n_species: int):
    """The density in each frame, and its unrotated slopes along infinitesimal rotations."""
    mask = jnp.ones(len(vectors), bool)

    def density(turn):
        turned = jnp.matmul(vectors, turn.T, precision="highest")
        return density_coefficients(turned, species, mask, basis, n_species)

    def slope(axis):
        spin = jnp.cross(axis, jnp.eye(3, dtype=vectors.dtype)).T
        return jax.jvp(density, (jnp.eye(3, dtype=vectors.dtype),), (spin,))[1]

    return jax.vmap(density)(frames), jax.vmap(slope)(jnp.eye(3, dtype=vectors.dtype))


def _frame(vector: np.ndarray) -> np.ndarray:
    """A proper rotation whose rows are a frame with its last axis along the vector."""
    axis = vector / np.linalg.norm(vector)
    across = np.cross(axis, np.eye(3)[np.argmin(abs(axis))])
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(axis, across), axis])


def _azimuthal(coefficients: np.ndarray, l_max: int) -> np.ndarray:
    """z_m = c_{l,m} + i c_{l,-m}, [m = 0 ... l_max, a·n·l]: a rotation by φ about z multiplies by
    exp(i m φ), the reflection of y conjugates."""
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    waves = np.zeros((l_max + 1, len(flat), l_max + 1), complex)
    for l in range(l_max + 1):
        part = flat[:, harmonic_slice(l)]
        waves[: l + 1, :, l] = part[:, l:].T
        waves[1 : l + 1, :, l] += 1j * part[:, :l][:, ::-1].T
    return waves.reshape(l_max + 1, -1)


def _angles(sources: np.ndarray, target: np.ndarray, tolerance: float):
    """All angles φ with |exp(i m φ) z_m - z'_m| <= tolerance |z'|, for sources z [B, m, ...].

    They maximise the trigonometric polynomial Re Σ_m p_m exp(i m φ), p_m = Σ conj(z'_m) z_m, whose
    maxima on a fine grid are refined by Newton's method.

    Returns:
        The index of the source, and the angle.
    """
    m = np.arange(len(target))
    overlap = np.einsum("mk,bmk->bm", target.conj(), sources)
    size = np.linalg.norm(target)
    rounding = 1e-12 * size**2
    n_grid = POINTS_PER_DEGREE * len(target)
    grid = 2 * np.pi * np.arange(n_grid) / n_grid
    # For a density that is symmetric about the axis, three angles represent the circle.
    circles = np.linalg.norm(overlap[:, 1:], axis=1) <= rounding
    on_grid = (overlap @ np.exp(1j * np.outer(m, grid))).real
    highest = on_grid >= np.roll(on_grid, 1, 1) - rounding
    highest &= on_grid >= np.roll(on_grid, -1, 1) - rounding
    peaks = highest & (on_grid > 0.9 * size**2) & ~circles[:, None]
    which, place = np.nonzero(peaks)
    which = np.concatenate([which, np.repeat(np.flatnonzero(circles), len(OF_A_CIRCLE))])
    angles = np.concatenate([grid[place], np.tile(OF_A_CIRCLE, circles.sum())])
    overlap = overlap[which]
    for _ in range(NEWTON_STEPS):
        waves = overlap * np.exp(1j * np.outer(angles, m))
        slope, curvature = -(waves.imag * m).sum(1), -(waves.real * m**2).sum(1)
        flat = abs(curvature) <= rounding
        step = np.where(flat, 0, slope / np.where(flat, 1, curvature))
        angles = angles - np.clip(step, -np.pi / n_grid, np.pi / n_grid)
    turned = np.exp(1j * np.outer(angles, m))[:, :, None] * sources[which]
    errors = np.linalg.norm(turned - target, axis=(1, 2))
    close = errors <= tolerance * size
    return which[close], angles[close]


def _distinct(turns: np.ndarray) -> np.ndarray:
    """Indices of the distinct matrices among [S, 3, 3]."""
    kept, left = [], np.arange(len(turns))
    while len(left):
        kept.append(left[0])
        left = left[abs(turns[left] - turns[left[0]]).max((1, 2)) >= PLACE_TOLERANCE]
    return np.array(kept, int)


def _rank(rows: np.ndarray, threshold: float) -> int:
    return int((np.linalg.svd(rows, compute_uv=False) > threshold).sum())


def _n_directions(vectors: np.ndarray) -> int:
    """0 without vectors, 1 if all are on one line through the origin, 2 otherwise."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return min(2, _rank(unit, PLACE_TOLERANCE)) if len(vectors) else 0
