"""Rows of a result file, made one after another: an interrupted run goes on where it was."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tripletjax.io import provenance, save_json, to_json
from tripletjax.types import InputError


def complete_rows(
    path: Path,
    wanted: Mapping[str, Callable[[], dict[str, Any]]],
    settings: dict[str, Any],
    force: bool = False,
) -> None:
    """Make the rows that the file lacks, and write it after each; others that it has stay.

    Args:
        path: of the JSON file.
        wanted: functions that make the rows, by name.
        settings: of these rows, written with each.
        force: make all of them again.

    Raises:
        InputError: a row in the file is of other settings.
    """
    rows = json.loads(path.read_text())["rows"] if path.is_file() else {}
    told = json.loads(to_json(settings))
    missing = [name for name in wanted if force or name not in rows]
    for name in set(wanted) - set(missing):
        require_same(f"row {name} of {path}", rows[name]["settings"], told)
    for name in missing:
        rows[name] = wanted[name]() | {"settings": told}
        save_json(path, {"rows": rows} | provenance())


def require_same(what: str, known: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise InputError where a result is of other settings, as JSON holds them, than wanted."""
    if changed := [name for name in wanted if known.get(name) != wanted[name]]:
        raise InputError(
            f"{what} is of other settings ({', '.join(changed)}); give the same ones, another "
            "--out, or --force to replace it"
        )
