"""Sizes of the neural potential: settings, without JAX."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from tripletjax.checks import (
    CUTOFF_FUNCTIONS,
    InputError,
    as_cutoff_function,
    as_integer,
    as_positive,
    settle,
)
from tripletjax.settings import Settings, setting

FALL = 0.6  # of the cutoff, over which the cutoff function falls where no width is given


@dataclass(frozen=True, kw_only=True)
class Architecture(Settings):
    """Sizes of the model: hashable, and all that is needed besides the weights to rebuild it.

    Example:
        >>> Architecture(l_max=2).with_settings({"cutoff": 4}).cutoff
        4.0
    """

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
    channels: int = setting(16, "channels of the learned density")
    species_channels: int = setting(
        4, "species channels of the density; with more species, they are shared by an embedding"
    )
    tags: int = setting(4, "maximum number of tagged neighbours")
    n_pairs: float = setting(1.0, "number of tagged pairs, by weight, which sets the tag radius")
    units: int = setting(64, "hidden units of a triplet")
    odd_units: int = setting(16, "hidden units of a triplet that are products of pseudoscalars")
    width: int = setting(64, "width of the hidden layers after pooling")

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
            low, high = int(field.name != "odd_units"), 8 if field.name == "l_max" else 1024
            if field.type is int:
                value = as_integer(field.name, getattr(self, field.name), low, high)
                settle(self, **{field.name: value})
