"""Whether a user's kernel is one: symmetric, positive semidefinite and differentiable."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.checks import reason_of
from tripletjax.kernels.algebra import leaves
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.types import InputError

SAMPLE = 40  # environments
ROUNDING = 1e3  # of the machine's precision: differences that do not count


def require_positive(kernel: Any, vectors: np.ndarray) -> None:
    """Check the kernel between some environments; those of the package are not checked.

    Args:
        kernel: with ``matrix``.
        vectors: ``[N, D]``, environments; evenly spaced ones are used.

    Raises:
        InputError: the kernel fails for them, has another shape than [N, M], numbers or derivatives
            that are not finite, is not symmetric, or has a negative eigenvalue.

    Example:
        >>> from tripletjax.kernels.environments import as_kernel
        >>> require_positive(as_kernel(lambda a, b: a @ b.T), np.ones((3, 2)))
    """
    if all(isinstance(leaf.kernel, EnvironmentKernel) for leaf in leaves(kernel)):
        return
    some = jnp.asarray(vectors[:: -(-len(vectors) // SAMPLE)])
    what = f"kernel {kernel.label()} between {len(some)} environments"
    values, slopes = _values_and_slopes(kernel, some, what)
    if values.shape != (len(some), len(some)):
        raise InputError(
            f"{what} gives an array of shape {values.shape}: expected {(len(some), len(some))}, "
            "for vectors [N, D] and [M, D] an array [N, M]"
        )
    if not np.isfinite(values).all():
        raise InputError(f"{what} gives {values[~np.isfinite(values)][0]}: expected finite numbers")
    if not np.isfinite(slopes).all():
        raise InputError(
            f"{what} has derivatives that are not finite, as square roots of zero have: expected "
            "a kernel that is differentiable where two environments are equal"
        )
    rounding = ROUNDING * float(np.finfo(values.dtype).eps)
    difference = float(np.abs(values - values.T).max())
    if difference > rounding * np.abs(values).max():
        raise InputError(
            f"{what} is not symmetric, k(p, q) and k(q, p) differ by {difference:.2g}: expected a "
            "symmetric kernel"
        )
    eigenvalues = np.linalg.eigvalsh(np.asarray(values, float))
    if eigenvalues[0] < -rounding * np.abs(values).sum(1).max():
        raise InputError(
            f"{what} has the eigenvalue {eigenvalues[0]:.2g}, and the largest is "
            f"{eigenvalues[-1]:.2g}: expected a positive semidefinite kernel"
        )


def _values_and_slopes(kernel, some, what) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of some environments, and derivatives of its sum with respect to them."""
    try:
        values = kernel.matrix(some, some)
        slopes = jax.grad(lambda vectors: jnp.sum(kernel.matrix(vectors, some)))(some)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{what} failed: {reason_of(error)}; expected a function of vectors [N, D] and [M, D] "
            "that gives [N, M]"
        ) from error
    return np.asarray(values), np.asarray(slopes)
