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


class Side(NamedTuple):
    """Rows or columns of a matrix."""

    moment: Array  # [n, n] decaying mean of G Gᵀ
    basis: Array  # [n, n] its eigenvectors, approximately


Sides = tuple[Side | None, Side | None]  # rows and columns; None: not turned


class EigenbasisState(NamedTuple):
    """The state of ``scale_by_eigenbasis``; lists have one entry for each array of weights."""

    count: Array  # steps so far
    mean: list[Array]  # m, in the eigenbasis, as matrices
    square: list[Array]  # v, in the eigenbasis
    sides: list[Sides]


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
        sides = [_sides(matrix) for matrix in zeros]
        copies: list[Array] = [jnp.copy(array) for array in zeros]
        return EigenbasisState(jnp.zeros((), jnp.int32), zeros, copies, sides)

    def update(updates, state, params=None):
        del params
        arrays, structure = jax.tree.flatten(updates)
        gradients = [_matrix(array) for array in arrays]
        count = state.count + 1
        fresh = jnp.where(count == 1, 1, 1 - memory)
        sides = [_seen(*pair, fresh) for pair in zip(state.sides, gradients, strict=True)]
        sides, means = jax.lax.cond(
            (count - 1) % interval == 0, _refined, lambda *kept: kept, sides, state.mean
        )
        kept, squares, steps = [], [], []
        for gradient, mean, square, own in zip(gradients, means, state.square, sides, strict=True):
            turned = _turn(own, gradient)
            kept.append(b1 * mean + (1 - b1) * turned)
            squares.append(b2 * square + (1 - b2) * turned**2)
            root = _root(squares[-1] / _weight(b2, count, square.dtype))
            mean = kept[-1] / _weight(b1, count, square.dtype)
            steps.append(_turn_back(own, mean / root))
        steps = [step.reshape(array.shape) for step, array in zip(steps, arrays, strict=True)]
        return jax.tree.unflatten(structure, steps), EigenbasisState(count, kept, squares, sides)

    return optax.GradientTransformation(init, update)


def _weight(decay: float, count: Array, dtype: Any) -> Array:
    """Sum of the weights of all steps so far in a decaying mean."""
    return 1 - decay ** count.astype(dtype)


def _matrix(array: Array) -> Array:
    """The array with all axes but the last one as rows; a vector is one column."""
    return array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)


def _sides(matrix: Array) -> Sides:
    """Rows and columns before the first gradient."""
    rows, columns = (
        Side(jnp.zeros((n, n), matrix.dtype), jnp.eye(n, dtype=matrix.dtype))
        if 1 < n <= min(LONGEST_SIDE, THINNEST * other)
        else None
        for n, other in zip(matrix.shape, matrix.shape[::-1], strict=True)
    )
    return rows, columns


def _seen(sides: Sides, gradient: Array, fresh: Array) -> Sides:
    """The sides with the second moments of one more gradient, with this weight."""
    rows, columns = sides
    return (
        rows and rows._replace(moment=_mixed(rows.moment, gradient @ gradient.T, fresh)),
        columns and columns._replace(moment=_mixed(columns.moment, gradient.T @ gradient, fresh)),
    )


def _mixed(old: Array, new: Array, share: Array) -> Array:
    return old + share.astype(old.dtype) * (new - old)


def _root(square: Array) -> Array:
    """√v, at least ``FLOOR`` of its root mean square."""
    return jnp.sqrt(square + FLOOR**2 * jnp.mean(square)) + TINY


def _refined(sides: list[Sides], means: list[Array]) -> tuple[list[Sides], list[Array]]:
    """One step of orthogonal iteration for every basis, and the means in the new ones."""

    def refined(side: Side) -> Side:
        return side._replace(basis=jnp.linalg.qr(side.moment @ side.basis)[0])

    new = jax.tree.map(refined, sides, is_leaf=lambda one: isinstance(one, Side))
    turned = [
        _turn(after, _turn_back(before, mean))
        for before, after, mean in zip(sides, new, means, strict=True)
    ]
    return new, turned


def _turn(sides: Sides, matrix: Array) -> Array:
    """Uᵀ M V."""
    rows, columns = sides
    matrix = matrix if rows is None else rows.basis.T @ matrix
    return matrix if columns is None else matrix @ columns.basis


def _turn_back(sides: Sides, matrix: Array) -> Array:
    """U M Vᵀ."""
    rows, columns = sides
    matrix = matrix if rows is None else rows.basis @ matrix
    return matrix if columns is None else matrix @ columns.basis.T
