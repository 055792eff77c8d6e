"""The commands ``train`` and ``evaluate``; what is heavy is imported when they run."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path


def add_train(commands, add_command: Callable) -> None:
    """``tripletjax train``."""
    parser = add_command(
        commands,
        "train",
        _train,
        "fit a potential to energies, forces and stress",
        "tripletjax train --train train.xyz --test test.xyz --out fit --max-minutes 20",
    )
    parser.add_argument("--train", type=Path, required=True, metavar="XYZ", help="to fit")
    parser.add_argument("--valid", type=Path, metavar="XYZ", help="default: a tenth of --train")
    parser.add_argument("--test", type=Path, metavar="XYZ", help="for the errors reported")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings, as 'name: value'")
    parser.add_argument("--cutoff", type=float, help="Å")
    parser.add_argument("--max-minutes", type=float, help="stop after so long")
    parser.add_argument("--max-epochs", type=int, help="stop after so many epochs")
    parser.add_argument("--seed", type=int, help="of weights, order and validation split")
    parser.add_argument(
        "--committee", type=int, metavar="M", help="fit M potentials, for uncertainties"
    )
    parser.add_argument("--resume", action="store_true", help="go on from DIR's checkpoint")
    parser.add_argument("--force", action="store_true", help="replace DIR if it holds files")
    _add_keys(parser)


def _train(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_unused, require_writable
    from tripletjax.training import TrainConfig, read_config, train, train_committee

    if arguments.resume:
        require_writable(arguments.out, folder=True)
    else:
        require_unused(arguments.out, arguments.force)
    settings = read_config(arguments.config) if arguments.config else {}
    for name in ("cutoff", "max_minutes", "max_epochs", "seed"):
        if getattr(arguments, name) is not None:
            settings[name] = getattr(arguments, name)
    config = TrainConfig().with_settings(settings, str(arguments.config or "settings"))
    others = {
        name: _labelled(path, arguments)
        for name, path in (("valid", arguments.valid), ("test", arguments.test))
        if path is not None
    }
    fit = train
    if arguments.committee is not None:
        fit = partial(train_committee, size=arguments.committee)
    _, record = fit(
        _labelled(arguments.train, arguments),
        arguments.out,
        config=config,
        resume=arguments.resume,
        force=arguments.force,
        valid=others.get("valid"),
        test=others.get("test"),
    )
    _print_errors({name: record[name] for name in ("train", "valid", "test") if name in record})


def add_evaluate(commands, add_command: Callable) -> None:
    """``tripletjax evaluate``."""
    parser = add_command(
        commands, "evaluate", _evaluate,
        "errors of a potential on labelled structures", "tripletjax evaluate fit test.xyz",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="DIR", help="as tripletjax train wrote it")
    parser.add_argument("data", type=Path, metavar="XYZ", help="structures with labels")
    parser.add_argument("--out", type=Path, metavar="JSON", help="file to write")
    _add_keys(parser)


def _evaluate(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_writable, save_json
    from tripletjax.potential import load
    from tripletjax.training import evaluate

    if arguments.out:
        require_writable(arguments.out)
    data = _labelled(arguments.data, arguments)
    found = evaluate(load(arguments.model), data.frames, data.labels)
    if arguments.out:
        save_json(arguments.out, found)
    _print_errors({arguments.data.name: found})


def _add_keys(parser: argparse.ArgumentParser) -> None:
    for name in ("energy", "forces", "stress"):
        parser.add_argument(f"--{name}-key", metavar="KEY", help=f"of the {name}, if not ASE's")


def _labelled(path: Path, arguments: argparse.Namespace):
    from tripletjax.io import read_frames
    from tripletjax.training import Dataset, read_labels

    frames = read_frames(path)
    keys = (arguments.energy_key, arguments.forces_key, arguments.stress_key)
    return Dataset(frames, read_labels(frames, *keys, source=str(path)))


def _print_errors(parts: dict[str, dict[str, float]]) -> None:
    for name, errors in parts.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in errors.items()))
