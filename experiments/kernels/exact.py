"""Errors of the Gaussian process that ``tripletjax train --model kernel`` fits by default.

python -m experiments.kernels.exact --train train.xyz --test test.xyz --sizes 50 200
"""

import argparse
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from experiments.commands import add_result_options, run_command, show_progress
from experiments.files import labelled
from experiments.rows import complete_rows
from tripletjax.settings import read_settings
from tripletjax.training import Dataset
from tripletjax.training.kernel_config import KernelConfig
from tripletjax.training.kernels import fit_kernel_potential

log = logging.getLogger("experiments.kernels.exact")
RESULTS = Path(__file__).parent / "results"


def row(train: Dataset, test: Dataset, config: KernelConfig) -> dict[str, Any]:
    """Errors and deviations on the test structures, and seconds with compilation."""
    _, record = fit_kernel_potential(train, config=config, valid=test, show=False)
    found = {name: record[name] for name in ("seconds", "train", "uncertainty", "process")}
    found |= {"structures": len(train.frames), "test": record["valid"]}
    log.info(
        "%d structures: forces %.1f meV/Å, energy %.2f meV/atom, %.0f s",
        found["structures"],
        1e3 * found["test"]["force_mae_ev_per_A"],
        found["test"]["energy_mae_mev_per_atom"],
        found["seconds"],
    )
    return found


def run(
    train: Path,
    test: Path,
    sizes: list[int],
    config: KernelConfig,
    out: Path,
    force: bool,
    draw: int | None = None,
) -> None:
    """Fit to some structures of a file; sizes that are in the results are skipped."""
    parts = {size: labelled(train, size, draw) for size in sizes}
    tested = labelled(test)
    settings = asdict(config) | {"train": train.name, "test": test.name, "draw": draw}
    wanted = {str(size): partial(row, part, tested, config) for size, part in parts.items()}
    complete_rows(out / f"exact-{train.stem}.json", wanted, settings, force)


def main() -> None:
    """Learning curve on a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True, metavar="XYZ")
    parser.add_argument("--test", type=Path, required=True, metavar="XYZ")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50], metavar="N")
    parser.add_argument(
        "--draw", type=int, metavar="SEED", help="draw structures at random, if files are sorted"
    )
    parser.add_argument("--config", type=Path, metavar="YAML", help="other settings of the fit")
    add_result_options(parser, RESULTS)
    arguments = parser.parse_args()
    config = KernelConfig()
    if arguments.config:
        config = config.with_settings(read_settings(arguments.config))
    show_progress()
    where = arguments.train, arguments.test
    run(*where, arguments.sizes, config, arguments.out, arguments.force, arguments.draw)


if __name__ == "__main__":
    run_command(main)
