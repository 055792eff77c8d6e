"""Covariances of labels by matrix products over all pairs of atoms.

A kernel of the products s = p·q, u = ½|p|², v = ½|q|² of two vectors, or of some blocks of their
columns, has the derivatives

    D_a k = k_s dp_a·q + k_u dp_a·p,
    D_a D'_b k = k_s dp_a·dq_b + (dp_a·q) D'_b k_s + (dp_a·p) D'_b k_u,

with D'_b s = p·dq_b and D'_b v = q·dq_b: all that is of the size of the vectors is in products of
matrices, and only numbers for pairs of atoms are differentiated; the terms of all blocks are added.
Other kernels are differentiated as functions of the vectors, one tangent at a time.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.kernels.algebra import has_products, in_blocks
from tripletjax.kernels.environments import same_species, structure_kernel
from tripletjax.kernels.tangents import Tangents
from tripletjax.progress import progress_bar
from tripletjax.types import Array

AT_ONCE = 16  # structures
FEW_SIZES = 3  # of structures, with a program for each pair of them; more are padded

_product = partial(jnp.einsum, precision="highest")


def covariance_block(kernel: Any, first: Tangents, second: Tangents) -> Array:
    """D_a D'_b K(S, S') of energy and all derivatives of two structures, [1 + J, 1 + J'].

    Example:
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> one = Tangents(np.ones((2, 3)), np.array([0, 1]), np.ones((4, 2, 3)))
        >>> covariance_block(EnvironmentKernel(), one, one).shape
        (5, 5)
    """
    if has_products(kernel):
        return _by_products(kernel, first, second)
    return _by_derivatives(kernel, first, second)


def _by_products(kernel: Any, first: Tangents, second: Tangents) -> Array:
    p, kinds_p, moves_p = map(jnp.asarray, first)
    q, kinds_q, moves_q = map(jnp.asarray, second)
    related = same_species(kinds_p, kinds_q)
    kernel, blocks = in_blocks(kernel)

    def products(formula, a, b):  # of every block
        return jnp.stack([_product(formula, a[..., own], b[..., own]) for own in blocks])

    shape = len(blocks), *related.shape
    s = products("nd,md->nm", p, q)
    u = jnp.broadcast_to(0.5 * products("nd,nd->n", p, p)[..., None], shape)
    v = jnp.broadcast_to(0.5 * products("md,md->m", q, q)[:, None], shape)
    along_s = products("jnd,md->jnm", moves_p, q)
    along_u = products("jnd,nd->jn", moves_p, p)

    def slopes(s, v):
        def total(s, u):
            return jnp.sum(jnp.where(related, kernel.of_products(s, u, v), 0))

        value, (of_s, of_u) = jax.value_and_grad(total, argnums=(0, 1))(s, u)
        return value, of_s, of_u

    def derivative(ds, dv):  # D'_b
        return jax.jvp(slopes, (s, v), (ds, jnp.broadcast_to(dv[:, None], shape)))[1]

    value, of_s, of_u = slopes(s, v)
    moved = products("nd,kmd->knm", p, moves_q), products("md,kmd->km", q, moves_q)
    row, of_s_moved, of_u_moved = jax.vmap(derivative, in_axes=1)(*moved)
    column = _product("bjnm,bnm->j", along_s, of_s) + _product("bjn,bnm->j", along_u, of_u)
    block = _product("bjnm,kbnm->jk", along_s, of_s_moved)
    block += _product("bjn,kbnm->jk", along_u, of_u_moved)
    for own, slope in zip(blocks, of_s, strict=True):
        weighed = _product("nm,jnd->jmd", slope, moves_p[..., own])
        block += _product("jmd,kmd->jk", weighed, moves_q[..., own])
    return jnp.block([[value[None, None], row[None]], [column[:, None], block]])


def _by_derivatives(kernel: Any, first: Tangents, second: Tangents) -> Array:
    def rows(vectors):
        def total(own):
            return structure_kernel(kernel, own, first.kinds, vectors, second.kinds)

        value, slope = jax.value_and_grad(total)(first.vectors)
        return jnp.concatenate([value[None], _product("jcd,cd->j", first.tangents, slope)])

    along = lambda tangent: jax.jvp(rows, (second.vectors,), (tangent,))[1]  # noqa: E731
    columns = jax.vmap(along, out_axes=1)(second.tangents)
    return jnp.concatenate([rows(second.vectors)[:, None], columns], 1)


@jax.jit
def _blocks(kernel: Any, first: Tangents, seconds: Tangents) -> Array:
    """``covariance_block`` of one structure and several."""
    return jax.vmap(lambda second: covariance_block(kernel, first, second))(seconds)


def covariance_matrix(
    kernel: Any, structures: Sequence[Tangents], show: bool = False
) -> np.ndarray:
    """The covariance of all labels of several structures, [n, n], without variance and noise.

    Args:
        kernel: between environments.
        structures: real atoms and the derivatives that are labels, without padding.
        show: a progress bar.
    """
    stops = np.cumsum([0, *(1 + len(structure.tangents) for structure in structures)])
    labels = [slice(*pair) for pair in pairwise(stops.tolist())]
    matrix = np.empty((stops[-1], stops[-1]))
    chunks = _chunks(structures)
    total = len(structures) * (len(structures) + 1) // 2
    bar = progress_bar(total=total, desc="covariances", unit="pairs", disable=not show)
    for place, (members, size) in enumerate(chunks):
        firsts = _stacked([structures[member] for member in members], *size)
        for others, other_size in chunks[: place + 1]:
            is_own = others is members
            some = [structures[other] for other in others]
            seconds = firsts if is_own else _stacked(some, *other_size)
            for at, i in enumerate(members):
                first = jax.tree.map(lambda array, at=at: array[at], firsts)
                blocks = np.asarray(_blocks(kernel, first, seconds))
                _fill(matrix, labels, i, others[: at + 1] if is_own else others, blocks)
                bar.update(at + 1 if is_own else len(others))
    bar.close()
    return matrix


def _fill(matrix: np.ndarray, labels: list[slice], i: int, others: list[int], blocks) -> None:
    """Write the covariances of one structure with some, and mirror them."""
    for j, block in zip(others, blocks, strict=False):
        rows, columns = labels[i], labels[j]
        block = block[: rows.stop - rows.start, : columns.stop - columns.start]
        matrix[rows, columns] = 0.5 * (block + block.T) if i == j else block
        matrix[columns, rows] = matrix[rows, columns].T


def _chunks(structures: Sequence[Tangents]) -> list[tuple[list[int], np.ndarray]]:
    """Places of up to ``AT_ONCE`` structures of similar size, and their padded size."""
    sizes = np.array([structure.tangents.shape[:2] for structure in structures])
    if len(np.unique(sizes, axis=0)) > FEW_SIZES:
        edges = np.quantile(sizes[:, 1], np.linspace(0, 1, FEW_SIZES + 1)[1:], method="higher")
        classes = edges[np.searchsorted(edges, sizes[:, 1])]
        for one in np.unique(classes):
            sizes[classes == one] = sizes[classes == one].max(0)
    found = []
    for size in np.unique(sizes, axis=0):
        members = np.flatnonzero((sizes == size).all(1)).tolist()
        found += [(members[k : k + AT_ONCE], size) for k in range(0, len(members), AT_ONCE)]
    return found


def _stacked(structures: Sequence[Tangents], n_moves: int, n_atoms: int) -> Tangents:
    width = structures[0].vectors.shape[1]
    stacked = Tangents(
        np.zeros((AT_ONCE, n_atoms, width)),
        np.full((AT_ONCE, n_atoms), -1),
        np.zeros((AT_ONCE, n_moves, n_atoms, width)),
    )
    for at, (vectors, kinds, tangents) in enumerate(structures):
        stacked.vectors[at, : len(kinds)] = vectors
        stacked.kinds[at, : len(kinds)] = kinds
        stacked.tangents[at, : len(tangents), : len(kinds)] = tangents
    return jax.tree.map(jnp.asarray, stacked)
