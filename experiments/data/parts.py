"""A labelled set made in parts: each from its own seed, kept until the last one is done.

An interrupted run goes on where it stopped and gives the same file.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from tripletjax.io import atomic_open

HERE = Path(__file__).parent
DECIMALS = 6  # of positions, rounded before labelling, and of labels


def rounded(atoms: Atoms) -> Atoms:
    """A copy with the positions and the cell that are written."""
    atoms = atoms.copy()
    atoms.positions = atoms.positions.round(DECIMALS)
    atoms.cell = atoms.cell.array.round(DECIMALS)
    return atoms


def frame_text(atoms: Atoms, labels: Mapping) -> str:
    """One frame of extended xyz; ``forces`` of the labels are a column, the others a field."""
    others = {key: value for key, value in labels.items() if key != "forces"}
    fields = {}
    if atoms.pbc.any():
        fields["Lattice"] = atoms.cell.array
    fields["Properties"] = "species:S:1:pos:R:3:forces:R:3"
    fields |= atoms.info | others | {"pbc": " ".join("FT"[int(p)] for p in atoms.pbc)}
    rows = zip(atoms.symbols, np.hstack([atoms.positions, labels["forces"]]), strict=True)
    lines = [str(len(atoms)), " ".join(f"{k}={_text(v)}" for k, v in fields.items())]
    return "\n".join(lines + [f"{s} {_numbers(row)}" for s, row in rows]) + "\n"


def _text(value) -> str:
    if isinstance(value, str):
        return f'"{value}"' if " " in value else value
    return f'"{_numbers(value)}"' if np.ndim(value) else _numbers(value)


def _numbers(values) -> str:
    # adding 0.0 makes -0 into 0
    return " ".join(f"{v:.{DECIMALS}f}" for v in np.ravel(values).round(DECIMALS) + 0.0)


def make(name: str, function: Callable[[int], str], count: int, folder: Path, out: Path) -> None:
    """Make the parts of a set that are missing, then join them."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / f"{name}_{part:02d}.xyz" for part in range(count)]
    for part, path in enumerate(parts):
        if not path.exists():
            _save(path, function(part))
            print(path.name, len(read(path, index=":")), "frames", flush=True)
    _save(out, "".join(path.read_text() for path in parts))
    print(out, len(read(out, index=":")), "frames", out.stat().st_size // 1000, "kB")


def _save(path: Path, text: str) -> None:
    with atomic_open(path) as file:
        file.write(text.encode())


def main(
    description: str | None, ending: str, sets: Mapping[str, tuple[Callable[[int], str], int]]
) -> None:
    """The command of some sets, ``name: (function of the part, number of parts)``."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("name", choices=sorted(sets))
    parser.add_argument("--parts", type=Path, default=HERE / "results-local")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    name = f"{arguments.name}_{ending}.xyz"
    out = arguments.out or HERE.parents[1] / "tripletjax" / "data" / name
    make(arguments.name, *sets[arguments.name], arguments.parts, out)
