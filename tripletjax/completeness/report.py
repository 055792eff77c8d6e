"""The audit as a folder: report.md, audit.json and two figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.completeness.audit import Audit
from tripletjax.io import atomic_folder, provenance, save_json
from tripletjax.plotting import distance_scatter, sensitivity_histogram

FAR = 0.1  # Å; collisions further apart are counted by themselves
LISTED = 20  # pairs in the report; all are in the JSON


def write_audit(audit: Audit, path: str | Path, force: bool = False) -> None:
    """Write the folder as a whole, or not at all.

    Raises:
        InputError: it holds files and ``force`` is not given, or it cannot be written.
    """
    with atomic_folder(path, force) as folder:
        save_json(folder / "audit.json", record(audit))
        (folder / "report.md").write_text(report(audit), encoding="utf-8")
        collided = np.isin(np.arange(len(audit.pairs.first)), audit.collisions)
        series = {
            "pairs at random": (audit.random.upper, audit.random.descriptor),
            "nearest in the descriptor": _points(audit, ~collided),
            "collisions": _points(audit, collided),
        }
        distance_scatter(folder / "distances.png", series, audit.tolerance, audit.floor)
        if len(audit.smallest):
            sensitivity_histogram(folder / "sensitivity.png", audit.smallest)


def _points(audit: Audit, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return audit.pairs.upper[which], audit.pairs.descriptor[which]


def weakest(audit: Audit) -> np.ndarray:
    """Places of pairs that are no collision, by descriptor distance over geometric distance."""
    contrast = audit.pairs.descriptor / np.maximum(audit.pairs.upper, audit.floor)
    apart = (audit.pairs.upper > audit.floor) & (audit.pairs.descriptor > audit.tolerance)
    return np.flatnonzero(apart)[np.argsort(contrast[apart])]


def record(audit: Audit) -> dict[str, Any]:
    """Everything that was found, as plain values."""
    return {
        "settings": {
            "hypers": audit.hypers,
            "floor_A": audit.floor,
            "precision_A": audit.precision,
            "tolerance": audit.tolerance,
        },
        "environments": len(audit.atom),
        "environments_equal_to_another": audit.n_equal,
        "pairs_compared": len(audit.pairs.first),
        "collisions": [_pair(audit, place) for place in audit.collisions],
        "collisions_further_than_0.1_A": int(_far(audit)),
        "undecided": [_pair(audit, place) for place in audit.undecided],
        "weakest": [_pair(audit, place) for place in weakest(audit)[:LISTED]],
        "parted_at_l_max": audit.parted,
        "sensitivity": {
            "environments": len(audit.smallest),
            "smallest_singular_value_per_A": audit.smallest.tolist(),
            "soft_directions": audit.soft.tolist(),
        },
        "seconds": round(audit.seconds, 1),
        **provenance(),
    }


def _far(audit: Audit) -> int:
    return int((audit.pairs.lower[audit.collisions] > FAR).sum())


def _pair(audit: Audit, place: int) -> dict[str, Any]:
    rows = audit.pairs.first[place], audit.pairs.second[place]
    return {
        "frames": [int(audit.structure[row]) for row in rows],
        "atoms": [int(audit.atom[row]) for row in rows],
        "descriptor_distance": float(audit.pairs.descriptor[place]),
        "geometric_distance_A": float(audit.pairs.upper[place]),
        "geometric_lower_bound_A": float(audit.pairs.lower[place]),
    }


def verdict(audit: Audit) -> str:
    """What was found, in one or two sentences."""
    if not len(audit.collisions):
        return "None: no two different environments among these have equal rows."
    return (
        f"{len(audit.collisions)} pairs of different environments have equal rows, {_far(audit)} "
        f"of them further than {FAR} Å apart. No model on this descriptor can be right for both."
    )


def report(audit: Audit) -> str:
    """The report as Markdown."""
    found, hypers = audit.collisions, audit.hypers
    kind = hypers["kind"]
    sentences = [
        f"# Audit of {kind!r}",
        f"{len(audit.atom)} environments, cutoff {hypers['cutoff']} Å, n_max={hypers['n_max']}, "
        f"l_max={hypers['l_max']}. The {len(audit.pairs.first)} nearest pairs of rows were "
        f"compared in geometry; environments nearer than {audit.floor:g} Å count as equal, and "
        f"rows nearer than {audit.tolerance:.1e} of their median norm, what a displacement of "
        f"{audit.precision:g} Å changes, about. {audit.n_equal} environments were left out because "
        "another is nearer than that floor.",
        "## Collisions",
    ]
    sentences.append(verdict(audit))
    if len(found):
        order = found[np.argsort(-audit.pairs.lower[found])]
        sentences += ["The furthest apart:", _table(audit, order[:LISTED])]
    if len(audit.undecided):
        sentences.append(
            f"Of {len(audit.undecided)} more pairs with equal rows it could not be decided whether "
            f"they are further than {audit.floor:g} Å apart."
        )
    if audit.parted:
        sentences += ["### The resolution that parts them", _parted(audit)]
    sentences += [
        "## Weakest pairs that are told apart",
        "By descriptor distance over geometric distance.",
        _table(audit, weakest(audit)[:LISTED]),
        "![Descriptor distance against geometric distance](distances.png)",
    ]
    if len(audit.smallest):
        low, middle = np.min(audit.smallest), np.median(audit.smallest)
        n_soft = int((audit.soft > 0).sum())
        sentences += [
            "## Sensitivity",
            f"Smallest singular value of the Jacobian over {len(audit.smallest)} environments: "
            f"lowest {low:.1e}, median {middle:.1e} per Å. {n_soft} have a direction in which the "
            "descriptor does not change to first order: by symmetry, or because it is blind.",
            "![Histogram of smallest singular values](sensitivity.png)",
        ]
    sentences += ["## Settings", f"    {json.dumps(hypers)}", f"{audit.seconds:.0f} s in all."]
    return "\n\n".join(sentences) + "\n"


def _table(audit: Audit, places: np.ndarray) -> str:
    lines = ["| frame, atom | frame, atom | descriptor distance | geometric distance / Å |"]
    lines.append("|---|---|---|---|")
    for entry in (_pair(audit, int(place)) for place in places):
        (a, b), (i, j) = entry["frames"], entry["atoms"]
        apart = f"{entry['descriptor_distance']:.1e} | {entry['geometric_distance_A']:.4f}"
        lines.append(f"| {a}, {i} | {b}, {j} | {apart} |")
    return "\n".join(lines)


def _parted(audit: Audit) -> str:
    kinds = [name for name in audit.parted[0] if name != "pair"]
    head = " | ".join(f"{name}: smallest l_max" for name in kinds)
    lines = [f"| pair | {head} |", "|---" * (len(kinds) + 1) + "|"]
    for entry in audit.parted:
        pair = _pair(audit, entry["pair"])
        (a, b), (i, j) = pair["frames"], pair["atoms"]
        cells = " | ".join(str(entry[name] or "none tried") for name in kinds)
        lines.append(f"| {a}, {i} and {b}, {j} | {cells} |")
    return "\n".join(lines)
