"""Adam in the eigenbasis of the gradients' second moments, for each matrix of weights.

With G the gradient of a matrix W, and the decaying means A = ⟨G Gᵀ⟩ and B = ⟨Gᵀ G⟩ with the
eigenvectors U and V, the update is that of Adam for the rotated gradient Uᵀ G V, turned back:

    m = ⟨G⟩,    v = ⟨(Uᵀ G V)²⟩,    ΔW = U [(Uᵀ m V) / √v] Vᵀ.

Features of atoms are strongly correlated. In the eigenbasis they are hardly so, and steps along
combinations with small gradients are as long as those along others.

Source: SOAP, Vyas et al., arXiv 2409.11321 (2024); Shampoo, Gupta et al., ICML 2018.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tripletjax.types import Array

LONGEST_SIDE = 512  # of a matrix that is turned; a longer one is left as it is along this side
THINNEST = 32  # times as long as the other side; a longer side is left as it is too
FLOOR = 1e-6  # of √v, relative to its root mean square: components that are only rounding
TINY = 1e-12  # the same in absolute terms, where all gradients are zero


Pair = tuple[Array | None, Array | None]  # of the rows and columns of a matrix; None: not turned


class EigenbasisState(NamedTuple):
    """The state of ``scale_by_eigenbasis``; lists have one entry for each array of weights."""

    count: Array  # steps so far
    mean: list[Array]  # m, in the eigenbasis, as matrices
    square: list[Array]  # v, in the eigenbasis
    moments: list[Pair]  # A and B
    bases: list[Pair]  # U and V, approximately


def scale_by_eigenbasis(
    b1: float = 0.9, b2: float = 0.999, memory: float = 0.99, interval: int = 20
) -> optax.GradientTransformation:
    """Scale gradients as Adam does, in the eigenbasis of their second moments.

    Arrays of more than two axes are matrices with the last axis as columns, and vectors are single
    columns. Bases are refined by one step of orthogonal iteration every ``interval`` steps.

    Args:
        b1: decay of the mean m.
        b2: decay of the mean v.
        memory: decay of the second moments.
        interval: steps between refinements of the bases.

    Example:
        >>> rule = scale_by_eigenbasis()
        >>> weights = {"w": jnp.ones((3, 2))}
        >>> update, state = rule.update({"w": jnp.eye(3, 2)}, rule.init(weights))
        >>> update["w"].shape
        (3, 2)
    """

    def init(params) -> Any:
        zeros: list[Array] = [jnp.zeros_like(_matrix(array)) for array in jax.tree.leaves(params)]
        copies: list[Array] = [jnp.copy(array) for array in zeros]
        moments = [_on_sides(lambda n, dtype: jnp.zeros((n, n), dtype), m) for m in zeros]
        bases = [_on_sides(lambda n, dtype: jnp.eye(n, dtype=dtype), m) for m in zeros]
        return EigenbasisState(jnp.zeros((), jnp.int32), zeros, copies, moments, bases)

    def update(updates, state, params=None):
        del params
        arrays, structure = jax.tree.flatten(updates)
        gradients = [_matrix(array) for array in arrays]
        count = state.count + 1
        fresh = jnp.where(count == 1, 1, 1 - memory)
        moments = [_seen(*pair, fresh) for pair in zip(state.moments, gradients, strict=True)]
        bases, means = jax.lax.cond(
            (count - 1) % interval == 0,
            _refined,
            lambda _, *kept: kept,
            moments,
            state.bases,
            state.mean,
        )
        kept, squares, steps = [], [], []
        for gradient, mean, square, own in zip(gradients, means, state.square, bases, strict=True):
            turned = _turn(own, gradient)
            kept.append(b1 * mean + (1 - b1) * turned)
            squares.append(b2 * square + (1 - b2) * turned**2)
            root = _root(squares[-1] / _weight(b2, count, square.dtype))
            mean = kept[-1] / _weight(b1, count, square.dtype)
            steps.append(_turn_back(own, mean / root))
        steps = [step.reshape(array.shape) for step, array in zip(steps, arrays, strict=True)]
        after = EigenbasisState(count, kept, squares, moments, bases)
        return jax.tree.unflatten(structure, steps), after

    return optax.GradientTransformation(init, update)


def _weight(decay: float, count: Array, dtype: Any) -> Array:
    """Sum of the weights of all steps so far in a decaying mean."""
    return 1 - decay ** count.astype(dtype)


def _matrix(array: Array) -> Array:
    """The array with all axes but the last one as rows; a vector is one column."""
    return array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)


def _on_sides(function, matrix: Array) -> Pair:
    """``function(n, dtype)`` of those sides of a matrix that are turned, of length n."""
    rows, columns = (
        function(n, matrix.dtype) if 1 < n <= min(LONGEST_SIDE, THINNEST * other) else None
        for n, other in zip(matrix.shape, matrix.shape[::-1], strict=True)
    )
    return rows, columns


def _seen(moments: Pair, gradient: Array, fresh: Array) -> Pair:
    """The second moments with those of one more gradient, with this weight."""
    rows, columns = moments
    return (
        None if rows is None else _mixed(rows, gradient @ gradient.T, fresh),
        None if columns is None else _mixed(columns, gradient.T @ gradient, fresh),
    )


def _mixed(old: Array, new: Array, share: Array) -> Array:
    return old + share.astype(old.dtype) * (new - old)


def _root(square: Array) -> Array:
    """√v, at least ``FLOOR`` of its root mean square."""
    return jnp.sqrt(square + FLOOR**2 * jnp.mean(square)) + TINY


def _refined(
    moments: list[Pair], bases: list[Pair], means: list[Array]
) -> tuple[list[Pair], list[Array]]:
    """One step of orthogonal iteration for every basis, and the means in the new ones."""
    new = jax.tree.map(lambda moment, basis: jnp.linalg.qr(moment @ basis)[0], moments, bases)
    turned = [
        _turn(after, _turn_back(before, mean))
        for before, after, mean in zip(bases, new, means, strict=True)
    ]
    return new, turned


def _turn(bases: Pair, matrix: Array) -> Array:
    """Uᵀ M V."""
    rows, columns = bases
    matrix = matrix if rows is None else rows.T @ matrix
    return matrix if columns is None else matrix @ columns


def _turn_back(bases: Pair, matrix: Array) -> Array:
    """U M Vᵀ."""
    rows, columns = bases
    matrix = matrix if rows is None else rows @ matrix
    return matrix if columns is None else matrix @ columns.T
