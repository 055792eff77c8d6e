"""Kernels between the vectors of two environments, and between structures as sums over atoms."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.kernels.algebra import Combinable, KernelOf, Product, Sum
from tripletjax.types import Array, InputError, as_integer, as_positive, settle

KERNELS = ("gaussian", "polynomial", "linear")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["length_scale"],
    meta_fields=["kind", "degree"],
)
@dataclass(frozen=True, kw_only=True)
class EnvironmentKernel(Combinable):
    """A kernel between environment vectors p, q.

        "gaussian":   k(p, q) = exp(-|p - q|² / 2ℓ²)
        "polynomial": k(p, q) = (p·q / |p| |q|)^ζ
        "linear":     k(p, q) = p·q

    The linear kernel of a radial spectrum is a potential of pairs, that of a power spectrum one of
    three bodies.

    Between structures it is summed over all pairs of atoms of equal species,
    K(S, S') = Σ_{i∈S} Σ_{j∈S'} δ(species) k(p_i, p_j), as suits energies that are sums over atoms.

    Example:
        >>> kernel = EnvironmentKernel(length_scale=2.0)
        >>> kernel.matrix(np.zeros((1, 3)), np.full((2, 3), 2.0)).shape
        (1, 2)
    """

    kind: str = "gaussian"
    length_scale: Any = 1.0  # ℓ, in units of the vectors; a number or an array without axes
    degree: int = 2  # ζ of the polynomial

    def __post_init__(self):
        if self.kind not in KERNELS:
            raise InputError(f"invalid kernel={self.kind!r}: expected {' or '.join(KERNELS)}")
        if isinstance(self.length_scale, (int, float, str)):
            as_positive("length_scale", self.length_scale, "units of the vectors")
        settle(self, degree=as_integer("degree", self.degree, 1))

    def matrix(self, a: Array, b: Array) -> Array:
        """k between all rows of [N, D] and [M, D], [N, M]; differentiable, even at equal rows.

        A row of zeros has no direction, and a polynomial kernel of zero with every other.
        """
        a, b = jnp.asarray(a), jnp.asarray(b)
        product = jnp.matmul(a, b.T, precision="highest")
        return self.of_products(product, 0.5 * jnp.sum(a**2, -1)[:, None], 0.5 * jnp.sum(b**2, -1))

    def of_products(self, s: Array, u: Array, v: Array) -> Array:
        """k as a function of s = p·q, u = ½|p|² and v = ½|q|², element by element."""
        if self.kind == "linear":
            return s + 0 * (u + v)
        if self.kind == "polynomial":
            return (s * _inverse_root(2 * u) * _inverse_root(2 * v)) ** self.degree
        scale = jnp.asarray(self.length_scale, s.dtype)
        return jnp.exp((s - u - v) / scale**2)

    def label(self) -> str:
        """A short name of the kernel."""
        if self.kind == "linear":
            return self.kind
        if self.kind == "polynomial":
            return f"polynomial, degree {self.degree}"
        return f"gaussian, length scale {float(self.length_scale):.3g}"


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["function"])
@dataclass(frozen=True)
class FunctionKernel(Combinable):
    """A kernel defined by a function of vectors [N, D] and [M, D] that returns [N, M]."""

    function: Callable[[Array, Array], Array]

    def matrix(self, a: Array, b: Array) -> Array:
        """k between all rows of [N, D] and [M, D], [N, M]."""
        return self.function(jnp.asarray(a), jnp.asarray(b))

    def label(self) -> str:
        """Name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)


Kernel = Any  # a ``Combinable``, or a function of vectors [N, D] and [M, D]


def as_kernel(kernel: Any) -> Any:
    """A kernel with ``matrix`` and ``label``, its length scale a number.

    Raises:
        InputError: neither a kernel nor a function.
    """
    if isinstance(kernel, EnvironmentKernel):
        return replace(kernel, length_scale=float(kernel.length_scale))
    if isinstance(kernel, Sum):
        weights = tuple(map(float, kernel.weights))
        return Sum(tuple(map(as_kernel, kernel.kernels)), weights)
    if isinstance(kernel, Product):
        return Product(tuple(map(as_kernel, kernel.kernels)))
    if isinstance(kernel, KernelOf):
        return replace(kernel, kernel=as_kernel(kernel.kernel))
    if not isinstance(kernel, type):
        if callable(getattr(kernel, "matrix", None)) and callable(getattr(kernel, "label", None)):
            return kernel
        if callable(kernel):
            function: Any = kernel
            return FunctionKernel(function)
    raise InputError(
        f"invalid kernel {kernel!r}: expected an EnvironmentKernel, a sum or product of some, or "
        "a function of vectors [N, D] and [M, D]"
    )


def as_kernels(kernels: Any) -> list[Any]:
    """One kernel or several as a list of ``as_kernel``; None: Gaussian of length scale 2."""
    if kernels is None:
        return [EnvironmentKernel(length_scale=2.0)]
    several = isinstance(kernels, Iterable)
    found = [as_kernel(kernel) for kernel in kernels] if several else [as_kernel(kernels)]
    if not found:
        raise InputError("invalid kernels=[]: expected an EnvironmentKernel, a function, or some")
    return found


def _inverse_root(squared: Array) -> Array:
    is_zero = squared == 0
    return jnp.where(is_zero, 0, 1 / jnp.sqrt(jnp.where(is_zero, 1, squared)))


def structure_kernel(
    kernel: EnvironmentKernel, a: Array, kinds_a: Array, b: Array, kinds_b: Array
) -> Array:
    """K(S, S') = Σ_{i∈S} Σ_{j∈S'} δ(species of i, species of j) k(p_i, p_j), a scalar.

    Args:
        kernel: between environments.
        a, kinds_a: ``[N, D]`` and ``[N]``, vectors and species of the atoms of S; -1 is padding.
        b, kinds_b: ``[M, D]`` and ``[M]``, those of S'.

    Source: Bartók and Csányi, Int. J. Quantum Chem. 115, 1051 (2015).

    Example:
        >>> vectors, kinds = jnp.zeros((3, 2)), jnp.array([0, 1, 1])
        >>> structure_kernel(EnvironmentKernel(), vectors, kinds, vectors, kinds).item()
        5.0
    """
    return jnp.sum(jnp.where(same_species(kinds_a, kinds_b), kernel.matrix(a, b), 0))


def same_species(kinds_a: Array, kinds_b: Array) -> Array:
    """Whether two lists of species [N] and [M] agree, [N, M]; -1 agrees with nothing."""
    return (kinds_a[:, None] == kinds_b) & (kinds_a[:, None] >= 0)


def typical_distance(vectors: np.ndarray, kinds: np.ndarray, most: int = 1000) -> float:
    """Median distance between the vectors [N, D] of different environments of equal species [N].

    Uses at most ``most`` environments, evenly spaced; 1 if no two differ.
    """
    step = max(1, len(vectors) // most)
    vectors, kinds = np.asarray(vectors, float)[::step], np.asarray(kinds)[::step]
    found = []
    for kind in np.unique(kinds):
        rows = vectors[kinds == kind]
        size = (rows**2).sum(1)
        squared = np.maximum(size[:, None] + size - 2 * rows @ rows.T, 0)
        found.append(squared[np.triu_indices(len(rows), 1)])
    squared = np.concatenate(found)
    squared = squared[squared > 1e-12 * (vectors**2).sum(1).max()]
    return float(np.sqrt(np.median(squared))) if squared.size else 1.0
