"""The command ``train``."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tripletjax.checks import InputError
from tripletjax.commands.config_options import given_settings, settled
from tripletjax.commands.fit_options import add_fit_options, fit_arguments, print_errors, resumable
from tripletjax.commands.label_options import labelled
from tripletjax.commands.outcomes import precision
from tripletjax.commands.parsing import Command, Parser
from tripletjax.potentials.architecture import SIZES, of_size
from tripletjax.training.config import LABEL_KEYS, FitOptions, TrainConfig, settings_text
from tripletjax.training.kernel_config import KernelConfig, defaults_of, kernel_settings_text


def _add_options(parser: Parser) -> None:
    settings = add_fit_options(parser, FitOptions(), TrainConfig(), LABEL_KEYS, _template)
    settings.add_argument(
        "--size", choices=tuple(SIZES), default=argparse.SUPPRESS,
        help="size of the network, in place of single settings: errors against cost "
        "(default: medium)",
    )  # fmt: skip


def _template(arguments: argparse.Namespace) -> str:
    """The settings of the model and size that were chosen before."""
    config = defaults_of(getattr(arguments, "model", None))
    if isinstance(config, KernelConfig):
        return kernel_settings_text(config)
    return settings_text(config.with_settings(_of_size(arguments)), FitOptions())


def _of_size(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """The settings that --size stands for; none if it is not given."""
    return SIZES[arguments.size] if hasattr(arguments, "size") else {}


def _settled(arguments: argparse.Namespace) -> tuple[FitOptions, TrainConfig | KernelConfig]:
    """The settings of the model that is chosen, which must read all options."""
    model = getattr(arguments, "model", given_settings(arguments)[0].get("model"))
    config = defaults_of(model)
    readable = {entry.name for entry in config.entries()}
    is_kernel = isinstance(config, KernelConfig)
    if not is_kernel:
        readable.add("size")
        vars(arguments).update({**_of_size(arguments), **vars(arguments)})
    names = {entry.name for entry in TrainConfig.entries()} | {"size"}
    for name in sorted(names & set(vars(arguments))):
        if name not in readable:
            raise InputError(
                f"invalid --{name.replace('_', '-')}: fits with --model {model} do not read it; "
                "leave it out"
            )
    return settled(arguments, FitOptions(), config, dict if is_kernel else of_size)


def _run(arguments: argparse.Namespace) -> None:
    from tripletjax.fitting import fit
    from tripletjax.io import require_unused
    from tripletjax.training.folder import METRICS

    out: Path = arguments.out
    require_unused(out, arguments.force or arguments.resume)
    options, config = _settled(arguments)
    if options.model is None:
        raise InputError("these settings are of a fit with objects given in Python; give --model")
    chosen = {name: getattr(options, name) for name in ("model", "start_from", "committee")}
    with precision(options.x64), resumable(out):
        files = fit_arguments(arguments, lambda path: labelled(path, config.flat()))
        fit(**files, **chosen, config=config)
    print_errors(json.loads((out / METRICS).read_text(encoding="utf-8")))


COMMAND = Command(
    "train",
    "fit a potential to energies, forces and stress",
    "tripletjax train --train train.xyz --test test.xyz --out fit --max-minutes 20",
    _add_options,
    _run,
)
