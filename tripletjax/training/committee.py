"""Several fits from different seeds, and the committee that they make."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tripletjax.io import save_json
from tripletjax.locks import hold
from tripletjax.training.config import TrainConfig
from tripletjax.training.data import make_buckets
from tripletjax.training.laplace import calibrate, uncertainty_metrics
from tripletjax.training.parts import split_dataset
from tripletjax.training.run import Dataset, train
from tripletjax.types import InputError
from tripletjax.uncertainty import Committee, of_members


def train_committee(
    data: Dataset,
    folder: str | Path,
    size: int,
    config: TrainConfig | None = None,
    *,
    valid: Dataset | None = None,
    test: Dataset | None = None,
    announce: Callable[[str], Any] = print,
    **options: Any,
) -> tuple[Committee, dict[str, Any]]:
    """Fit ``size`` potentials to the same data from the seeds of ``config`` on, one by one.

    The folder gets ``member-0``, ``member-1``, ..., each as ``train`` writes it, ``model`` (the
    first member), ``committee`` (all, calibrated on validation data) and ``metrics.json``. With
    ``resume`` finished members are kept.

    Args:
        data, config, valid, test: as for ``train``.
        folder: to write.
        size: number of members, at least two.
        announce: called with a line before each member.
        options: further options of ``train``.

    Raises:
        InputError: as ``train`` does, or fewer than two members.
    """
    if size < 2:
        raise InputError(f"a committee of {size} is not usable; give two members or more")
    with hold(folder):
        config = replace(config or TrainConfig(), laplace_members=0)
        return _train_committee(data, Path(folder), size, config, valid, test, announce, options)


def _train_committee(
    data: Dataset,
    folder: Path,
    size: int,
    config: TrainConfig,
    valid: Dataset | None,
    test: Dataset | None,
    announce: Callable[[str], Any],
    options: dict[str, Any],
) -> tuple[Committee, dict[str, Any]]:
    """``train_committee`` in a folder that no other run writes to."""
    data, valid = split_dataset(data, valid, config.seed)
    potentials, records = [], []
    for member in range(size):
        announce(f"member {member + 1} of {size}")
        settings = replace(config, seed=config.seed + member)
        potential, record = train(
            data, folder / f"member-{member}", settings, valid=valid, test=test, **options
        )
        potentials.append(potential)
        records.append(record)
    potentials[0].save(folder / "model", force=True)
    parts = {"valid": make_buckets(*valid, potentials[0])}
    committee = calibrate(of_members(potentials), parts["valid"])
    if test is not None:
        parts["test"] = make_buckets(*test, potentials[0])
    committee.save(folder / "committee", force=True)
    summary = {
        "members": [{name: r[name] for name in ("valid", "test") if name in r} for r in records],
        "uncertainty": uncertainty_metrics(committee, parts),
        "seconds": sum(record["seconds"] for record in records),
    }
    save_json(folder / "metrics.json", records[0] | summary)
    return committee, records[0] | summary
