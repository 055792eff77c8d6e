"""Settings of the fit of a model of tensors."""

from dataclasses import Field, dataclass, fields

from tripletjax.checks import as_choice, as_name, settle
from tripletjax.settings import Precision, setting
from tripletjax.training.config import LABEL_KEYS, TrainConfig

TARGETS = ("dipole", "polarizability")
OF_ENERGIES = (
    *("energy_weight", "final_energy_weight", "forces_weight", "stress_weight"),
    *("reference_energies", "laplace_members", "devices"),
    *LABEL_KEYS,
)


@dataclass(frozen=True, kw_only=True)
class TensorOptions(Precision):
    """What to fit; with ``TensorConfig`` all settings of the command ``train-tensor``."""

    target: str | None = setting(
        None, "what is fitted, in e·Å or Å³; it has to be given", choices=TARGETS
    )
    charges: bool = setting(True, "dipoles have charges of atoms besides dipoles of atoms")

    def __post_init__(self):
        super().__post_init__()
        if self.target is not None:
            as_choice("target", self.target, TARGETS)
        settle(self, charges=as_choice("charges", self.charges, (False, True)))


@dataclass(frozen=True, kw_only=True)
class TensorConfig(TrainConfig):
    """``TrainConfig`` without the settings that only the fit of energies, forces and stress has.

    Example:
        >>> TensorConfig().with_settings({"key": "mu"}).key
        'mu'
    """

    key: str | None = setting(None, "name of the labels in files", none="ASE's, or the target's")

    def __post_init__(self):
        super().__post_init__()
        if self.key is not None:
            settle(self, key=as_name("key", self.key))

    @classmethod
    def entries(cls) -> list[Field]:
        """The settings that are used."""
        return [entry for entry in super().entries() if entry.name not in OF_ENERGIES]

    @classmethod
    def of(cls, config: TrainConfig) -> "TensorConfig":
        """These settings, also from a ``TrainConfig``."""
        given = {own.name: getattr(config, own.name) for own in fields(config)}
        return cls(**given)
