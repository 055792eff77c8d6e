"""Settings of a fit: the defaults are meant to be good without any file."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tripletjax.potentials.network import Architecture
from tripletjax.training.references import as_references
from tripletjax.types import InputError, as_integer, as_number, as_positive, settle

DEFAULT_STEPS = 100_000
ATOMS_A_STEP = 40  # many small steps learn more in the same time than few large ones
ENDLESS = 10**9  # epochs
OPTIONAL = ("batch_size", "patience", "max_epochs", "max_minutes")  # None has a meaning of its own
CHECKS: dict[tuple[str, ...], Callable[[str, Any], Any]] = {
    ("steps_between_validations", "batch_size", "patience", "max_epochs"): partial(
        as_integer, low=1
    ),
    ("seed", "laplace_members"): as_integer,
    ("learning_rate", "huber", "energy_weight", "final_energy_weight"): as_positive,
    ("max_minutes",): partial(as_positive, unit="minutes"),
    ("forces_weight", "stress_weight", "checkpoint_minutes"): partial(as_number, low=0),
    ("final_learning_rate", "warm_up", "ema"): partial(as_number, low=0, high=1),
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the result of a fit, apart from the data."""

    architecture: Architecture = field(default_factory=Architecture)
    batch_size: int | None = None  # structures a step; None: as hold about 40 atoms
    max_epochs: int | None = None  # None: as max_minutes allow, or 100 000 steps without these
    max_minutes: float | None = None  # whichever ends first; the schedule follows both
    learning_rate: float = 0.1  # at its peak
    final_learning_rate: float = 0.002  # of the peak, at the end of the cosine
    warm_up: float = 0.1  # of the run; shorter ones at times diverge and do not recover
    energy_weight: float = 1.0  # at the start; of the error per atom
    final_energy_weight: float = 20.0  # at the end, changed geometrically in between
    forces_weight: float = 1.0
    stress_weight: float = 1.0
    reference_energies: Any = None  # {"H": -13.6, …} eV, or "isolated"; None: by least squares
    huber: float = 0.02  # errors below are squared, above absolute; in units of the scale
    ema: float = 0.998  # decay of the averaged weights
    patience: int | None = None  # validations without progress after which to stop
    steps_between_validations: int = 250  # at least so many; rounded up to whole epochs
    checkpoint_minutes: float = 1.0  # at most so much is lost when a run is killed
    laplace_members: int = 16  # draws of the last layer, for uncertainties; 0: none
    seed: int = 0

    def __post_init__(self):
        settle(self, reference_energies=as_references(self.reference_energies))
        for names, check in CHECKS.items():
            for name in names:
                if getattr(self, name) is not None or name not in OPTIONAL:
                    settle(self, **{name: check(name, getattr(self, name))})

    def settled(self, n_structures: int, n_atoms: int) -> "TrainConfig":
        """Settle ``batch_size`` and ``max_epochs`` for so many structures and atoms in all.

        Example:
            >>> config = TrainConfig().settled(1000, 9000)
            >>> config.batch_size, config.max_epochs
            (4, 400)
        """
        size = self.batch_size or max(1, round(ATOMS_A_STEP * n_structures / n_atoms))
        epochs = self.max_epochs
        if epochs is None:
            steps = math.ceil(n_structures / size)
            endless = self.max_minutes is not None
            epochs = ENDLESS if endless else math.ceil(DEFAULT_STEPS / steps)
        return replace(self, batch_size=size, max_epochs=epochs)

    def with_settings(self, settings: dict[str, Any], source: str = "settings") -> "TrainConfig":
        """Change some settings, those of the architecture among them, by name.

        Raises:
            InputError: a name that does not exist (the nearest is suggested), or a bad value.

        Example:
            >>> TrainConfig().with_settings({"cutoff": 4.0, "batch_size": 2}).architecture.cutoff
            4.0
        """
        sizes = {f.name for f in fields(Architecture)}
        own = {f.name for f in fields(TrainConfig)} - {"architecture"}
        for name in settings:
            if name not in sizes | own:
                near = get_close_matches(str(name), sorted(sizes | own), n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {sorted(sizes | own)}"
                raise InputError(f"{source}: setting {name!r} does not exist; {hint}")
        changed = replace(
            self.architecture, **{name: v for name, v in settings.items() if name in sizes}
        )
        return replace(
            self, architecture=changed, **{name: v for name, v in settings.items() if name in own}
        )


class _Loader(yaml.SafeLoader):
    """YAML 1.2 in two respects: 1e-2 is a number, and No is nobelium."""


NUMBER, BOOL = "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(BOOL, re.compile("^(true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver(  # whole numbers come first
    NUMBER, re.compile(r"^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$"), "-+.0123456789"
)


def read_config(path: str | Path) -> dict[str, Any]:
    """Settings from a YAML file, for ``TrainConfig.with_settings``.

    Raises:
        InputError: the file is missing, or is not a mapping of names to values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a YAML file of settings")
    try:
        settings = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as YAML: {reason}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise InputError(f"{path} holds a {type(settings).__name__}; give lines 'name: value'")
    return settings
