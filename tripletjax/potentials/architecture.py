"""Sizes of the neural potential: settings, without JAX."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from tripletjax.checks import (
    CUTOFF_FUNCTIONS,
    InputError,
    as_choice,
    as_cutoff_function,
    as_integer,
    as_positive,
    settle,
)
from tripletjax.settings import Settings, setting

RANGES = {
    "l_max": (1, 8),
    "messages": (0, 1024),
    "odd_units": (0, 1024),
    "order": (2, 6),
    "tags": (0, 1024),
}
FALL = 0.6  # of the cutoff, over which the cutoff function falls where no width is given


@dataclass(frozen=True, kw_only=True)
class Architecture(Settings):
    """Sizes of the model: hashable, and all that is needed besides the weights to rebuild it.

    Example:
        >>> Architecture(l_max=2).with_settings({"cutoff": 4}).cutoff
        4.0
    """

    unrecorded = MappingProxyType(
        {"order": 2, "tag_channels": None, "repulsion": False, "messages": 0}
    )  # in files of before

    cutoff: float = setting(5.0, "atoms strictly inside are neighbours", "Å")
    cutoff_function: str | Callable[..., Any] = setting(
        "smooth", "cutoff function of the density", choices=CUTOFF_FUNCTIONS
    )
    cutoff_width: float | None = setting(
        None, "width of the region inside the cutoff where the cutoff function decays", "Å",
        none="0.6 of the cutoff",
    )  # fmt: skip
    n_radial: int = setting(12, "radial functions that the learned ones are made of")
    l_max: int = setting(3, "highest degree of the harmonics, inclusive")
    channels: int = setting(32, "channels of the learned density")
    order: int = setting(
        4, "highest order of the smooth invariants of the density; 2: its power spectrum"
    )
    species_channels: int = setting(
        4, "species channels of the density; with more species, they are shared by an embedding"
    )
    messages: int | None = setting(
        None, "numbers that every atom sends to its neighbours, and channels of the density that "
        "they are made of; 0: none, so that the energy of an atom depends on its own environment "
        "alone", none="16 for energies, 0 for tensors",
    )  # fmt: skip
    tags: int | None = setting(
        None, "maximum number of tagged neighbours; 0: no triplets, which is faster and blind to "
        "what invariants of these orders do not see", none="0 for energies, 4 for tensors",
    )  # fmt: skip
    tag_channels: int | None = setting(
        8, "channels of the density that triplets see", none="all of them"
    )
    n_pairs: float = setting(1.0, "number of tagged pairs, by weight, which sets the tag radius")
    units: int = setting(32, "hidden units of a triplet")
    odd_units: int = setting(8, "hidden units of a triplet that are products of pseudoscalars")
    width: int = setting(64, "width of the hidden layers after pooling")

    repulsion: bool = setting(
        True, "whether energies include the repulsion of nuclei that are closer than a bond"
    )

    @property
    def fall(self) -> float:
        """Å, over which the cutoff function falls."""
        return FALL * self.cutoff if self.cutoff_width is None else self.cutoff_width

    def __post_init__(self):
        settle(
            self,
            cutoff=as_positive("cutoff", self.cutoff, "Å"),
            n_pairs=as_positive("n_pairs", self.n_pairs, "pairs"),
        )
        settle(self, repulsion=as_choice("repulsion", self.repulsion, (False, True)))
        as_cutoff_function("cutoff_function", self.cutoff_function)
        if self.cutoff_width is not None:
            width = as_positive("cutoff_width", self.cutoff_width, "Å")
            if width > self.cutoff:
                raise InputError(
                    f"cutoff_width={width} Å is wider than cutoff={self.cutoff} Å; give a width "
                    "between 0 and the cutoff"
                )
            settle(self, cutoff_width=width)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int or (field.type == int | None and value is not None):
                low, high = RANGES.get(field.name, (1, 1024))
                settle(self, **{field.name: as_integer(field.name, value, low, high)})


_SMALL = {"channels": 16, "messages": 0, "order": 3, "width": 32}
_LARGE = {"channels": 64, "messages": 32, "order": 4, "width": 128}
_MEDIUM = {field.name: field.default for field in fields(Architecture) if field.name in _SMALL}
SIZES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"small": _SMALL, "medium": _MEDIUM, "large": _LARGE}
)


def of_size(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which ``size`` is replaced by what it stands for; other settings come first.

    Raises:
        InputError: there is no such size.

    Example:
        >>> of_size({"size": "large", "width": 256})
        {'channels': 64, 'messages': 32, 'order': 4, 'width': 256}
    """
    given = dict(settings)
    if "size" not in given:
        return given
    size = as_choice("size", given.pop("size"), tuple(SIZES))
    return {**SIZES[size], **given}
