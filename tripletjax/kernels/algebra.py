"""Sums and products of kernels, each of what a descriptor says of an environment.

    k(A, B) = Σ_c w_c k_c(A, B)   or   Π_c k_c(A, B),   k_c(A, B) = k(p_c(A), p_c(B)),

are kernels again. The vectors p_c of all descriptors stand one after the other in one vector, a
block of columns for each.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from numbers import Real
from operator import mul
from typing import Any

import jax

from tripletjax.descriptors.protocol import require_descriptor
from tripletjax.types import Array, InputError, as_positive


class Combinable:
    """What all kernels have: ``k1 + k2``, ``k1 * k2``, ``0.5 * k`` and ``k.of(describer)``."""

    def matrix(self, a: Array, b: Array) -> Array:
        """k between all rows of [N, D] and [M, D], [N, M]."""
        raise NotImplementedError

    def label(self) -> str:
        """A short name of the kernel."""
        raise NotImplementedError

    def __add__(self, other: Any) -> "Sum":
        return Sum(_terms(self) + _terms(other), _weights(self) + _weights(other))

    def __radd__(self, other: Any) -> "Sum":
        return Sum(_terms(other) + _terms(self), _weights(other) + _weights(self))

    def __mul__(self, other: Any) -> "Combinable":
        if isinstance(other, Real):
            weight = as_positive("weight of a kernel", other)
            return Sum(_terms(self), tuple(weight * own for own in _weights(self)))
        return Product(_factors(self) + _factors(other))

    __rmul__ = __mul__

    def of(self, describer: Any) -> Any:
        """This kernel of the vectors of a descriptor.

        Raises:
            InputError: not a descriptor, or the kernel has one already.
        """
        require_descriptor(describer)
        if any(leaf.describer is not None for leaf in leaves(self)):
            raise InputError("the kernel is already one of a descriptor")
        return with_leaves(self, lambda leaf: replace(leaf, describer=describer))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["kernel"],
    meta_fields=["describer", "block", "columns", "name"],
)
@dataclass(frozen=True)
class KernelOf(Combinable):
    """A kernel of the vectors of one descriptor, or of a block of columns."""

    kernel: Any
    describer: Any = None
    block: int = 0  # place of the descriptor among those of a sum or product
    columns: tuple[int, int | None] = (0, None)  # first and last + 1
    name: str = ""  # kind of the descriptor

    def matrix(self, a: Array, b: Array) -> Array:
        """k between all rows of [N, D] and [M, D], [N, M]."""
        own = slice(*self.columns)
        return self.kernel.matrix(a[:, own], b[:, own])

    def of_products(self, s: Array, u: Array, v: Array) -> Array:
        """k as a function of the products of each block, [B, ...]."""
        return self.kernel.of_products(s[self.block], u[self.block], v[self.block])

    def label(self) -> str:
        """A short name of the kernel."""
        name = self.name or getattr(self.describer, "kind", "")
        return self.kernel.label() + (f" of {name}" if name else "")


@partial(jax.tree_util.register_dataclass, data_fields=["kernels", "weights"], meta_fields=[])
@dataclass(frozen=True)
class Sum(Combinable):
    """Σ_c w_c k_c.

    Example:
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> kernel = 0.1 * EnvironmentKernel(kind="linear") + EnvironmentKernel(length_scale=2.0)
        >>> kernel.label()
        '0.1 linear + gaussian, length scale 2'
    """

    kernels: tuple[Any, ...]
    weights: tuple[Any, ...]

    def matrix(self, a: Array, b: Array) -> Array:
        """k between all rows of [N, D] and [M, D], [N, M]."""
        return self._added(lambda kernel: kernel.matrix(a, b))

    def of_products(self, s: Array, u: Array, v: Array) -> Array:
        """k as a function of the products of each block, [B, ...]."""
        return self._added(lambda kernel: kernel.of_products(s, u, v))

    def label(self) -> str:
        """A short name of the kernel."""
        pairs = zip(self.weights, self.kernels, strict=True)
        return " + ".join(_weighed(float(weight), kernel.label()) for weight, kernel in pairs)

    def _added(self, values: Callable[[Any], Array]) -> Any:
        pairs = zip(self.weights, self.kernels, strict=True)
        return sum(weight * values(kernel) for weight, kernel in pairs)


@partial(jax.tree_util.register_dataclass, data_fields=["kernels"], meta_fields=[])
@dataclass(frozen=True)
class Product(Combinable):
    """Π_c k_c."""

    kernels: tuple[Any, ...]

    def matrix(self, a: Array, b: Array) -> Array:
        """k between all rows of [N, D] and [M, D], [N, M]."""
        return reduce(mul, (kernel.matrix(a, b) for kernel in self.kernels))

    def of_products(self, s: Array, u: Array, v: Array) -> Array:
        """k as a function of the products of each block, [B, ...]."""
        return reduce(mul, (kernel.of_products(s, u, v) for kernel in self.kernels))

    def label(self) -> str:
        """A short name of the kernel."""
        return " × ".join(
            f"({kernel.label()})" if isinstance(kernel, Sum) else kernel.label()
            for kernel in self.kernels
        )


def leaves(kernel: Any) -> Iterator[KernelOf]:
    """The kernels of one descriptor that a kernel is made of."""
    if isinstance(kernel, Sum | Product):
        for part in kernel.kernels:
            yield from leaves(part)
    else:
        yield kernel if isinstance(kernel, KernelOf) else KernelOf(kernel)


def with_leaves(kernel: Any, function: Callable[[KernelOf], Any]) -> Any:
    """The same sums and products of other leaves."""
    if isinstance(kernel, Sum | Product):
        parts = tuple(with_leaves(part, function) for part in kernel.kernels)
        return replace(kernel, kernels=parts)
    return function(kernel if isinstance(kernel, KernelOf) else KernelOf(kernel))


def has_products(kernel: Any) -> bool:
    """Whether a kernel is a function of p·q, ½|p|² and ½|q|², of each block."""
    return all(hasattr(leaf.kernel, "of_products") for leaf in leaves(kernel))


def in_blocks(kernel: Any) -> tuple[Any, list[slice]]:
    """The kernel with ``of_products`` of all blocks, and the columns of each block."""
    found = {leaf.block: leaf.columns for leaf in leaves(kernel)}
    columns = [found.get(block, (0, 0)) for block in range(max(found) + 1)]
    return with_leaves(kernel, lambda leaf: leaf), [slice(*pair) for pair in columns]


def _terms(kernel: Any) -> tuple[Any, ...]:
    return kernel.kernels if isinstance(kernel, Sum) else (kernel,)


def _weights(kernel: Any) -> tuple[Any, ...]:
    return kernel.weights if isinstance(kernel, Sum) else (1.0,)


def _factors(kernel: Any) -> tuple[Any, ...]:
    return kernel.kernels if isinstance(kernel, Product) else (kernel,)


def _weighed(weight: float, label: str) -> str:
    return label if weight == 1 else f"{weight:.3g} {label}"
