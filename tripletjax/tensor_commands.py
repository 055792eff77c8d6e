"""The commands ``train-tensor`` and ``evaluate-tensor``; what is heavy is imported as they run."""

import argparse
from collections.abc import Callable
from pathlib import Path

TARGETS = ("dipole", "polarizability")


def add_train_tensor(commands, add_command: Callable) -> None:
    """``tripletjax train-tensor``."""
    parser = add_command(
        commands,
        "train-tensor",
        _train,
        "fit a model of dipoles or polarisabilities of molecules",
        "tripletjax train-tensor --target dipole --train train.xyz --test test.xyz --out fit",
    )
    parser.add_argument("--target", choices=TARGETS, required=True, help="e·Å, or Å³")
    parser.add_argument("--train", type=Path, required=True, metavar="XYZ", help="to fit")
    parser.add_argument("--valid", type=Path, metavar="XYZ", help="default: a tenth of --train")
    parser.add_argument("--test", type=Path, metavar="XYZ", help="for the errors reported")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--key", help="of the labels in info, if not the target's name")
    parser.add_argument("--no-charges", action="store_true", help="dipoles of atoms alone")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings, as 'name: value'")
    parser.add_argument("--cutoff", type=float, help="Å")
    parser.add_argument("--max-minutes", type=float, help="stop after so long")
    parser.add_argument("--max-epochs", type=int, help="stop after so many epochs")
    parser.add_argument("--seed", type=int, help="of weights, order and validation split")
    parser.add_argument("--force", action="store_true", help="replace DIR if it holds files")


def _train(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_unused
    from tripletjax.tensor_training import fit_tensors
    from tripletjax.training import TrainConfig, read_config

    require_unused(arguments.out, arguments.force)
    settings = read_config(arguments.config) if arguments.config else {}
    for name in ("cutoff", "max_minutes", "max_epochs", "seed"):
        if getattr(arguments, name) is not None:
            settings[name] = getattr(arguments, name)
    config = TrainConfig().with_settings(settings, str(arguments.config or "settings"))
    data, valid, test = (
        None if path is None else _labelled(path, arguments.target, arguments.key)
        for path in (arguments.train, arguments.valid, arguments.test)
    )
    assert data is not None, "the option is required"
    _, record = fit_tensors(
        data,
        arguments.target,
        arguments.out,
        config,
        charges=not arguments.no_charges,
        valid=valid,
        test=test,
        force=arguments.force,
    )
    for name in ("train", "valid", "test"):
        if name in record:
            _print_errors(name, record[name], record["unit"])


def add_evaluate_tensor(commands, add_command: Callable) -> None:
    """``tripletjax evaluate-tensor``."""
    parser = add_command(
        commands,
        "evaluate-tensor",
        _evaluate,
        "errors of a model of dipoles or polarisabilities on labelled molecules",
        "tripletjax evaluate-tensor fit test.xyz",
    )
    parser.add_argument("model", type=Path, metavar="DIR", help="as train-tensor wrote it")
    parser.add_argument("data", type=Path, metavar="XYZ", help="structures with labels")
    parser.add_argument("--key", help="of the labels in info, if not the target's name")
    parser.add_argument("--out", type=Path, metavar="JSON", help="file to write")


def _evaluate(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_writable, save_json
    from tripletjax.tensor_properties import UNITS, load_tensor
    from tripletjax.tensor_training import evaluate_tensors

    if arguments.out:
        require_writable(arguments.out)
    model = load_tensor(arguments.model)
    found = evaluate_tensors(model, _labelled(arguments.data, model.target, arguments.key))
    if arguments.out:
        save_json(arguments.out, found)
    _print_errors(arguments.data.name, found, UNITS[model.target])


def _labelled(path: Path, target: str, key: str | None):
    from tripletjax.io import read_frames
    from tripletjax.tensor_training import read_tensors

    return read_tensors(read_frames(path), target, key, str(path))


def _print_errors(name: str, errors: dict[str, float], unit: str) -> None:
    texts = (f"{k} {v:.4g}" + ("" if k.endswith("r2") else f" {unit}") for k, v in errors.items())
    print(f"{name}: " + ", ".join(texts))
