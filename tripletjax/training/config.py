"""Settings of a fit: the defaults are meant to be good without any file."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from tripletjax.checks import as_choice, as_integer, as_name, as_number, as_positive, settle
from tripletjax.potentials.architecture import Architecture
from tripletjax.settings import Precision, Settings, as_yaml, setting
from tripletjax.training.references import as_references

MODELS = ("triplet", "kernel")
LABEL_KEYS = ("energy_key", "forces_key", "stress_key", "virial_key")
DEFAULT_STEPS = 100_000
ATOMS_A_STEP = 40  # many small steps learn more in the same time than few large ones
ENDLESS = 10**9  # epochs
CHECKS: dict[tuple[str, ...], Callable[[str, Any], Any]] = {
    ("steps_between_validations", "batch_size", "patience", "max_epochs", "devices"): partial(
        as_integer, low=1
    ),
    ("seed", "laplace_members"): as_integer,
    ("learning_rate", "huber", "energy_weight", "final_energy_weight"): as_positive,
    ("max_minutes",): partial(as_positive, unit="minutes"),
    ("forces_weight", "stress_weight", "checkpoint_minutes"): partial(as_number, low=0),
    ("final_learning_rate", "warm_up", "ema"): partial(as_number, low=0, high=1),
    LABEL_KEYS: as_name,
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """Everything that decides the result of a fit, apart from the data.

    Example:
        >>> TrainConfig().with_settings({"cutoff": 4.0, "batch_size": 2}).architecture.cutoff
        4.0
    """

    architecture: Architecture = field(default_factory=Architecture)
    max_epochs: int | None = setting(
        None, "stop after this many epochs", none="100 000 steps, or as max_minutes allow"
    )
    max_minutes: float | None = setting(
        None, "stop after this many minutes, compilation apart", none="no limit"
    )
    patience: int | None = setting(
        None, "stop after this many validations without progress", none="never"
    )
    seed: int = setting(0, "seed of the weights, the order of the data and the validation split")
    batch_size: int | None = setting(None, "structures per step", none="about 40 atoms per step")
    devices: int = setting(1, "devices among which the structures of a step are divided")
    learning_rate: float = setting(0.02, "learning rate at its peak, before the cosine decay")
    final_learning_rate: float = setting(0.002, "learning rate at the end, relative to the peak")
    # Shorter ones at times diverge and do not recover.
    warm_up: float = setting(0.1, "fraction of the run during which the learning rate rises")
    energy_weight: float = setting(1.0, "weight of the energy per atom in the loss, at the start")
    final_energy_weight: float = setting(20.0, "the same at the end; it changes geometrically")
    forces_weight: float = setting(1.0, "weight of the forces in the loss")
    stress_weight: float = setting(1.0, "weight of the stress in the loss")
    reference_energies: Mapping[str, float] | str | None = setting(
        None, "energies of single atoms, such as H=-13.6,O=-432, or isolated: those of the "
        "structures of one atom", "eV", none="fitted by least squares",
    )  # fmt: skip
    huber: float = setting(0.02, "threshold of the Huber loss, relative to the size of the forces")
    ema: float = setting(0.998, "decay of the moving average of the weights, which is the one kept")
    steps_between_validations: int = setting(
        250, "minimum number of steps between validations, rounded up to epochs"
    )
    checkpoint_minutes: float = setting(
        1.0, "interval between checkpoints: the most that a killed run loses", "minutes"
    )
    laplace_members: int = setting(16, "samples of the last layer, for uncertainties; 0: none")

    energy_key: str | None = setting(None, "name of the energies in files", none="ASE's")
    forces_key: str | None = setting(None, "name of the forces in files", none="ASE's")
    stress_key: str | None = setting(None, "name of the stress in files", none="ASE's")
    virial_key: str | None = setting(
        None, "name of the virials in files (eV); stress = -virial/volume", none="none"
    )

    def __post_init__(self):
        settle(self, reference_energies=as_references(self.reference_energies))
        optional = {entry.name for entry in fields(self) if entry.metadata.get("none")}
        for names, check in CHECKS.items():
            for name in names:
                if getattr(self, name) is not None or name not in optional:
                    settle(self, **{name: check(name, getattr(self, name))})

    def settled(self, n_structures: int, n_atoms: int) -> "TrainConfig":
        """Settle ``batch_size`` and ``max_epochs`` for this many structures and atoms in all.

        Example:
            >>> config = TrainConfig().settled(1000, 9000)
            >>> config.batch_size, config.max_epochs
            (4, 400)
        """
        size = self.batch_size or max(1, round(ATOMS_A_STEP * n_structures / n_atoms))
        size = -(-size // self.devices) * self.devices  # as many on every device
        epochs = self.max_epochs
        if epochs is None:
            steps = math.ceil(n_structures / size)
            endless = self.max_minutes is not None
            epochs = ENDLESS if endless else math.ceil(DEFAULT_STEPS / steps)
        return replace(self, batch_size=size, max_epochs=epochs)

    def unsettled(self) -> "TrainConfig":
        """The settings to write to a file: without the epochs that only stand for no limit."""
        return replace(self, max_epochs=None) if self.max_epochs == ENDLESS else self


@dataclass(frozen=True, kw_only=True)
class FitOptions(Precision):
    """What is fitted; with ``TrainConfig`` all settings of the command ``train``."""

    model: str | None = setting(
        "triplet", "what is fitted", choices=MODELS,
        none="with a model, start, loss or optimizer given in Python",
    )  # fmt: skip
    start_from: str | None = setting(
        None, "folder of a fit whose weights to start from; new species are allowed",
        none="random weights",
    )  # fmt: skip
    committee: int | None = setting(
        None, "number of fits with different seeds, for uncertainties; they share max_minutes "
        "equally", none="one fit",
    )  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.model is not None:
            as_choice("model", self.model, MODELS)
        if self.start_from is not None:
            as_name("start_from", self.start_from)
        if self.committee is not None:
            settle(self, committee=as_integer("committee", self.committee, 2))


def settings_text(config: TrainConfig, options: Settings, command: str = "tripletjax train") -> str:
    """A file of settings, which the command's ``--config`` takes back."""
    model = {entry.name for entry in Architecture.entries()}
    groups = {
        "The fit": [*options.entries(), *(e for e in config.entries() if e.name not in model)],
        "The model": [e for e in config.entries() if e.name in model],
    }
    title = f"Settings of {command}, which reads them with --config."
    return as_yaml(groups, options.flat() | config.unsettled().flat(), title)
