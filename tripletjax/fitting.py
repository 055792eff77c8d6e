"""One function that fits any energy model to labelled structures."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax
import optax
from ase import Atoms

from tripletjax.checks import InputError, require_names, suggestion
from tripletjax.io import read_frames
from tripletjax.potentials.architecture import Architecture, of_size
from tripletjax.potentials.base import EnergyModel, Potential
from tripletjax.potentials.checks import require_model
from tripletjax.potentials.storage import ZOO, load
from tripletjax.potentials.triplet import TripletModel
from tripletjax.settings import divided, read_settings
from tripletjax.training.committee import train_committee
from tripletjax.training.config import LABEL_KEYS, MODELS, FitOptions, TrainConfig
from tripletjax.training.kernel_config import KERNEL, KernelConfig, defaults_of
from tripletjax.training.kernels import fit_kernel_potential
from tripletjax.training.labels import read_labels
from tripletjax.training.parts import Dataset
from tripletjax.training.run import train
from tripletjax.training.step import Loss

TRIPLET = "triplet"
Config = TrainConfig | KernelConfig
Source = str | Path | Sequence[Atoms] | Dataset


def fit(
    frames: Source,
    folder: str | Path | None = None,
    *,
    model: str | EnergyModel | None = None,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    valid: Source | None = None,
    test: Source | None = None,
    loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    start_from: Potential | str | Path | None = None,
    committee: int | None = None,
    resume: bool = False,
    force: bool = False,
    show: bool = True,
    **keys: str | None,
) -> Potential:
    """Fit a potential to energies, forces and stress.

    Args:
        frames: structures with labels where ASE puts them, or a file of them.
        folder: output folder for the fit, its errors, figures and ``settings.yaml``; must be
            unused, unless ``resume`` or ``force`` is set. None: nothing is written.
        model: "triplet", the network; "kernel", a Gaussian process on descriptors, with a
            ``KernelConfig``; or a custom energy model, for example from ``local_model``. None: that
            of ``config``, by default the network.
        config: settings by name, or a YAML file of settings, such as settings.yaml of an earlier
            fit, which may also have ``model``, ``start_from``, ``committee`` and ``x64``, and
            ``size`` in place of those settings that ``potentials.architecture.SIZES`` has for it;
            None: the defaults.
        valid, test: further structures; without ``valid`` a tenth of ``frames`` is set aside.
        loss: ``loss(potential, batch, labels)``, a number; the ``labels`` are
            ``training.step.BatchLabels``. None: the weighted error of the settings.
        optimizer: an Optax transformation with its own learning rate; None: that of
            ``training.optimizer``, with the learning rates of the settings.
        start_from: a fit, or its folder, with the initial weights. New species are allowed.
        committee: number of members to fit, whose spread is the uncertainty.
        resume: resume an interrupted fit in the folder.
        force: replace an earlier fit in the folder; all other files are kept.
        show: whether to show a progress bar.
        keys: ``energy_key``, ``forces_key``, ``stress_key`` and ``virial_key`` of the labels, if
            not ASE's.

    Raises:
        InputError: invalid data, settings, model, loss or folder.

    Example:
        >>> import jax.numpy as jnp
        >>> from tripletjax import local_model
        >>> from tripletjax.data.sets import load_frames
        >>> def springs(weights, vectors, species, mask, center):
        ...     r2 = jnp.sum(vectors**2, -1)
        ...     return jnp.sum(jnp.where(mask, weights * (1 - r2 / 2.25) ** 3, 0))
        >>> springs = local_model(springs, lambda seed: jnp.ones(()), cutoff=1.5, species=(1, 6, 8))
        >>> potential = fit(
        ...     load_frames("ethanol")[:6], model=springs, config={"max_epochs": 2}, show=False
        ... )
        >>> potential.species
        (1, 6, 8)
    """
    require_names(keys, LABEL_KEYS, "argument", "fit")
    options, config = _chosen(config, model)
    config = config.with_settings(keys)
    model = options.model if model is None else model
    start_from = options.start_from if start_from is None else start_from
    committee = options.committee if committee is None else committee
    if model is None:
        raise InputError("these settings are of a fit with objects given in Python; give the model")
    if committee is not None and folder is None:
        raise InputError("a committee needs a folder to be written to")
    if isinstance(config, KernelConfig):
        others = {"start_from": start_from, "committee": committee, "loss": loss}
        _require_none(others | {"optimizer": optimizer})
    with jax.enable_x64(True) if options.x64 else nullcontext():
        data = labelled(frames, config)
        assert data is not None, "of frames, which are not None"
        parts = {"valid": labelled(valid, config), "test": labelled(test, config)}
        if isinstance(config, KernelConfig):
            return fit_kernel_potential(
                data, folder, config, **parts, resume=resume, force=force, show=show
            )[0]
        start = load(start_from) if isinstance(start_from, str | Path) else start_from
        config = _settled(config, model, start, optimizer)
        choices = {
            "model": None if isinstance(model, str) else model,
            "start": start,
            "start_from": _place(start_from),
            "loss": loss,
            "optimizer": optimizer,
        }
        run = {"config": config, "resume": resume, "force": force, "show": show}
        if committee is None or folder is None:
            return train(data, folder, **parts, **choices, **run)[0]
        return train_committee(data, folder, committee, **parts, **choices, **run)[0]


def labelled(source: Source | None, config: Config) -> Dataset | None:
    """Structures with their labels, from a file or from memory."""
    if source is None or isinstance(source, Dataset):
        return source
    name = str(source) if isinstance(source, str | Path) else "the data"
    frames = read_frames(source) if isinstance(source, str | Path) else list(source)
    keys = {key: getattr(config, key) for key in LABEL_KEYS}
    return Dataset(frames, read_labels(frames, **keys, source=name))


def _chosen(
    config: Config | Mapping[str, Any] | str | Path | None, model: str | EnergyModel | None
) -> tuple[FitOptions, Config]:
    """The options of a settings file besides the settings of the model, and the latter."""
    if isinstance(config, TrainConfig | KernelConfig):
        if isinstance(config, KernelConfig) != (model == KERNEL):
            raise InputError(
                f"invalid config of type {type(config).__name__}: expected a KernelConfig for "
                f"model={KERNEL!r}, and a TrainConfig for every other"
            )
        return FitOptions(), config
    is_file = isinstance(config, str | Path)
    given = read_settings(config) if is_file else config or {}
    defaults = defaults_of(given.get("model") if model is None else model)
    if isinstance(defaults, TrainConfig):
        given = of_size(given)
    source = str(config) if is_file else "config"
    options, chosen = divided(given, FitOptions(), defaults, source=source)
    return options, chosen


def _require_none(options: dict[str, Any]) -> None:
    """Raise InputError at an option that a fit in closed form does not read."""
    for name, value in options.items():
        if value is not None:
            raise InputError(
                f"invalid {name}: a kernel potential is fitted in closed form, which does not "
                "read it; leave it out"
            )


def _place(start_from: Potential | str | Path | None) -> str | None:
    """The absolute path of the fit to start from."""
    if not isinstance(start_from, str | Path):
        return None
    is_named = str(start_from).startswith(ZOO)
    return str(start_from) if is_named else str(Path(start_from).resolve())


def _settled(
    config: TrainConfig, model: str | EnergyModel, start: Potential | None, optimizer: Any
) -> TrainConfig:
    """Validate the settings: every given setting must be used."""
    if optimizer is not None and config.learning_rate != TrainConfig().learning_rate:
        raise InputError(
            "learning_rate is not used with a custom optimizer; set it in the optimizer"
        )
    changed = _differences(config.architecture, Architecture())
    if start is not None:
        if model != TRIPLET:
            raise InputError("invalid model: start_from has its own; expected one of the two")
        own = start.model.architecture if isinstance(start.model, TripletModel) else None
        wrong = changed
        if own is not None:
            wrong = [name for name in changed if name in _differences(own, config.architecture)]
        if wrong:
            raise InputError(
                f"invalid {', '.join(wrong)}: the model is that of the initial fit; "
                "leave these settings out"
            )
        return config if own is None else replace(config, architecture=own)
    if isinstance(model, str):
        if model not in MODELS:
            raise InputError(
                f"invalid model={model!r}: expected {', '.join(MODELS)} or an energy model"
                f"{suggestion(model, MODELS)}"
            )
        return config
    require_model(model)
    if changed:
        raise InputError(
            f"invalid {', '.join(changed)}: settings of the network, which a custom model "
            "does not use; leave them out"
        )
    return config


def _differences(one: Architecture, other: Architecture) -> list[str]:
    """Names of the sizes that differ."""
    names = [field.name for field in fields(Architecture)]
    return [name for name in names if getattr(one, name) != getattr(other, name)]
