"""Sizes of the neural potential: settings, without JAX."""

from dataclasses import dataclass, fields

from tripletjax.checks import as_integer, as_positive, settle
from tripletjax.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class Architecture(Settings):
    """Sizes of the model: hashable, and all that is needed besides the weights to rebuild it.

    Example:
        >>> Architecture(l_max=2).with_settings({"cutoff": 4}).cutoff
        4.0
    """

    cutoff: float = setting(5.0, "atoms strictly inside are neighbours", "Å")
    n_radial: int = setting(12, "radial functions that the learned ones are made of")
    l_max: int = setting(3, "highest degree of the harmonics, inclusive")
    channels: int = setting(16, "channels of the learned density")
    species_channels: int = setting(
        4, "species channels of the density; more species than these share them by an embedding"
    )
    tags: int = setting(4, "number of neighbours that can be tagged, at most")
    n_pairs: float = setting(1.0, "tagged pairs of neighbours, by weight; sets the tag radius")
    units: int = setting(64, "hidden units of a triplet")
    odd_units: int = setting(16, "hidden units of a triplet that are products of pseudoscalars")
    width: int = setting(64, "width of the hidden layers after pooling")

    def __post_init__(self):
        settle(
            self,
            cutoff=as_positive("cutoff", self.cutoff, "Å"),
            n_pairs=as_positive("n_pairs", self.n_pairs, "pairs"),
        )
        for field in fields(self):
            low, high = int(field.name != "odd_units"), 8 if field.name == "l_max" else 1024
            if field.type is int:
                value = as_integer(field.name, getattr(self, field.name), low, high)
                settle(self, **{field.name: value})
