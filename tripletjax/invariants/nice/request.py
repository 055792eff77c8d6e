"""The numbers of components requested of a contraction, validated before any work."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tripletjax.invariants.nice.products import Key, all_pieces, n_products, reachable
from tripletjax.types import L_MAX_LIMIT, Array, InputError, as_integer

Components = int | Mapping[Key, int] | Sequence[int]


class Step(NamedTuple):
    """The request for one order."""

    order: int
    components: dict[Key, int]  # maximum number for each block (σ, λ)
    max_products: int | None


def checked_densities(coefficients: Array) -> np.ndarray:
    """Densities as a float64 NumPy array, [N, a, n, lm]."""
    array = np.asarray(coefficients, dtype=np.float64)
    n_harmonics = array.shape[-1] if array.ndim else 0
    if array.ndim != 4 or 0 in array.shape or round(n_harmonics**0.5) ** 2 != n_harmonics:
        raise InputError(
            f"invalid densities of shape {array.shape}: expected [N, a, n, (l_max + 1)²]"
        )
    if not np.isfinite(array).all():
        bad = int(np.argmax(~np.isfinite(array).all(axis=(1, 2, 3))))
        raise InputError(f"density {bad} is not finite: expected finite coefficients")
    if not array.any():
        raise InputError("all densities are zero: expected environments with neighbours")
    return array


def steps_of(
    density: tuple[int, int],
    nu: int,
    components: Any,
    lambda_max: int | Sequence[int] | None,
    max_products: int | None,
    n_fit: int,
) -> list[Step]:
    """The steps of orders 2 ... ν-1, after checking that there are enough data for each block.

    Args:
        density: channels q and (l_max + 1)².
        nu, components, lambda_max, max_products, n_fit: as for ``fit_contraction``.
    """
    n_channels, l_max = density[0], round(density[1] ** 0.5) - 1
    orders = range(2, nu)
    cuts = _per_order("lambda_max", l_max if lambda_max is None else lambda_max, orders)
    asked = _per_order("components", components, orders)
    sizes, steps = {(1, l): n_channels for l in range(l_max + 1)}, []
    for order in orders:
        cut = as_integer("lambda_max", cuts[order], 0, L_MAX_LIMIT)
        limit = max_products if order > 2 else None
        keys = reachable(sizes, l_max, cut)
        kept = _per_block(order, asked[order], keys)
        for key, count in kept.items():
            available = n_products(all_pieces(key, sizes, n_channels, l_max))
            kept[key] = min(count, available if limit is None else min(available, limit))
            n_rows = n_fit * (2 * key[1] + 1)
            if kept[key] > n_rows:
                needed = -(-kept[key] // (2 * key[1] + 1))
                raise InputError(
                    f"{kept[key]} components of block (sigma, lambda)={key} at order {order} need "
                    f"{needed} environments, but n_fit={n_fit}; give more or keep fewer"
                )
        steps.append(Step(order, kept, limit))
        sizes = kept
    return steps


def _per_order(name: str, value: Any, orders: range) -> dict[int, Any]:
    """One entry an order from one for all, a sequence or a dict by order."""
    span = f"orders {orders[0]} to {orders[-1]}"
    if isinstance(value, Mapping) and all(not isinstance(key, tuple) for key in value):
        if set(value) != set(orders):
            raise InputError(f"{name} is given for orders {sorted(value)}; give it for {span}")
        return dict(value)
    if _is_list(value):
        if len(value) != len(orders):
            raise InputError(f"{name} has {len(value)} entries; give one for each of {span}")
        return dict(zip(orders, value, strict=True))
    return dict.fromkeys(orders, value)


def _per_block(order: int, value: Any, keys: list[Key]) -> dict[Key, int]:
    """Components of each block from one number, a dict by block or a list in block order."""
    if isinstance(value, Mapping):
        unknown = [key for key in value if key not in keys]
        if unknown:
            raise InputError(
                f"components at order {order} name block {unknown[0]}, which does not exist; "
                f"there are (sigma, lambda) = {keys}"
            )
        chosen = dict(value)
    elif _is_list(value):
        if len(value) != len(keys):
            raise InputError(
                f"components at order {order} has {len(value)} entries; give one for each of the "
                f"{len(keys)} blocks (sigma, lambda) = {keys}"
            )
        chosen = dict(zip(keys, value, strict=True))
    else:
        chosen = dict.fromkeys(keys, value)
    return {key: as_integer("components", chosen[key], 1) for key in keys if key in chosen}


def _is_list(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str)
