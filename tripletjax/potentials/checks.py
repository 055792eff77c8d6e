"""Validation of models, weights, energies and batches, with one-line errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.types import Array, Batch, Environments, InputError, require_prepared

MEMBERS = ("cutoff", "species", "init", "energies")


def require_model(model: Any) -> None:
    """Raise InputError for anything that is not an ``EnergyModel``.

    Example:
        >>> try:
        ...     require_model("a network")
        ... except InputError as error:
        ...     print(str(error).split(":")[0])
        invalid model
    """
    name = type(model).__name__
    for member in MEMBERS:
        if not hasattr(model, member):
            raise InputError(
                f"invalid model: {name} has no {member!r}; expected cutoff, species, init(seed) "
                "and energies(weights, environments)"
            )
    species = tuple(model.species)
    if list(species) != sorted(set(species)) or not species:
        raise InputError(
            f"invalid model: its species are {list(species)}; expected atomic numbers, ascending"
        )
    try:
        hash(model)
    except TypeError as error:
        raise InputError(
            f"invalid model: {name} cannot be hashed ({error}), which jit needs; make it a frozen "
            "dataclass of numbers, strings and tuples"
        ) from error


def require_potential(potential: Any) -> None:
    """Raise InputError for anything that is not a ``Potential``.

    Example:
        >>> try:
        ...     require_potential(3)
        ... except InputError as error:
        ...     print(error)
        invalid potential of type int: expected a Potential, or load it from the folder of a fit
    """
    if not hasattr(potential, "mechanics"):
        raise InputError(
            f"invalid potential of type {type(potential).__name__}: expected a Potential, or load "
            "it from the folder of a fit"
        )


def require_weights(weights: Any) -> None:
    """Raise InputError for weights that are not a pytree of arrays."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        if isinstance(leaf, str | bytes) or callable(leaf):
            raise InputError(
                f"invalid weights{jax.tree_util.keystr(path)}: a {type(leaf).__name__}; expected a "
                "pytree of arrays, which can be fitted and saved"
            )


def require_energies(energies: Any, environments: Environments) -> None:
    """Raise InputError unless there is one energy for each environment."""
    expected = environments.center.shape
    if jnp.shape(energies) != expected:
        raise InputError(
            f"invalid model: its energies have shape {jnp.shape(energies)}; expected one for each "
            f"environment, {expected}"
        )


def needs_all_environments(model: Any) -> bool:
    """Whether the energies of a model depend on the environments of neighbours."""
    return getattr(model, "needs_all_environments", False)


def reach_of(model: Any) -> float | None:
    """Å from an atom to the furthest one that its energy depends on; None: the model doesn't say.

    Example:
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> reach_of(untrained([1], Architecture(cutoff=3.0, messages=4)).model)
        6.0
    """
    reach = getattr(model, "reach", None)
    return model.cutoff if reach is None and not needs_all_environments(model) else reach


def require_batch(potential: Any, batch: Batch) -> None:
    """Raise InputError for a batch with a smaller cutoff, unknown species or too few environments.

    Under ``jit`` the static settings of ``prepare`` are checked.
    """
    require_prepared(batch, potential.cutoff, potential.species, "the potential")
    all_atoms = batch.prepared is None or batch.prepared.all_atoms
    if needs_all_environments(potential.model) and not all_atoms:
        raise InputError(
            "the batch was prepared with centers=..., but energies of this potential depend on the "
            "environments of neighbours; prepare it without centers, and choose atoms afterwards"
        )
    elements: Array = batch.elements
    if isinstance(elements, np.ndarray) and not np.isin(elements, potential.species).all():
        raise InputError(
            f"the batch has species {elements.tolist()}, the potential knows only "
            f"{list(potential.species)}; fit it to these species too"
        )
