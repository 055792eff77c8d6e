"""Write an audit to a folder: report.md, audit.json and two figures."""

from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.completeness.auditing import Audit
from tripletjax.completeness.jacobians import SOFT
from tripletjax.io import atomic_folder, provenance, save_json, to_json
from tripletjax.plotting import distance_scatter, sensitivity_histogram

FAR = 0.1  # Å; collisions further apart are counted separately
NAMED = 3  # pairs in the verdict
OWN = ("audit.json", "report.md", "distances.png", "sensitivity.png")
LISTED = 20  # pairs in the report; the JSON file has all of them


def write_audit(audit: Audit, path: str | Path, force: bool = False) -> None:
    """Write the folder atomically; with ``force`` it replaces an earlier audit.

    Raises:
        InputError: the folder contains files and ``force`` is not set, or it cannot be written.
    """
    with atomic_folder(path, force, OWN) as folder:
        save_json(folder / "audit.json", record(audit))
        (folder / "report.md").write_text(report(audit), encoding="utf-8")
        listed = np.r_[audit.collisions, audit.undecided]
        others = np.setdiff1d(np.arange(len(audit.pairs.first)), listed)
        series = {
            "random pairs": (audit.random.upper, audit.random.descriptor),
            "nearest rows": _points(audit, others),
            "equal rows, undecided": _points(audit, audit.undecided),
            "collisions, certified": _points(audit, audit.collisions),
        }
        distance_scatter(folder / "distances.png", series, audit.tolerance, audit.floor)
        if len(audit.smallest):
            sensitivity_histogram(folder / "sensitivity.png", audit.smallest)


def _points(audit: Audit, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return audit.pairs.upper[which], audit.pairs.descriptor[which]


def weakest(audit: Audit) -> np.ndarray:
    """Indices of pairs without collisions, by the ratio of descriptor and geometric distance."""
    contrast = audit.pairs.descriptor / np.maximum(audit.pairs.upper, audit.floor)
    apart = (audit.pairs.upper > audit.floor) & (audit.pairs.descriptor > audit.tolerance)
    return np.flatnonzero(apart)[np.argsort(contrast[apart])]


def record(audit: Audit) -> dict[str, Any]:
    """All results as plain values."""
    return {
        "verdict": verdict(audit),
        "settings": {
            "hypers": _readable(audit),
            "floor_A": audit.floor,
            "precision_A": audit.precision,
            "tolerance": audit.tolerance,
        },
        "environments": len(audit.atom),
        "environments_equal_to_another": audit.search.n_equal,
        "pairs": audit.search.n_pairs,
        "pairs_compared": len(audit.pairs.first),
        "pairs_with_equal_rows": int(audit.equal.sum()),
        "nearest_pairs_not_compared": len(audit.search.skipped),
        "pairs_with_equal_rows_not_compared": audit.n_equal_skipped,
        "environments_with_more_equal_rows_than_looked_up": audit.n_crowded,
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


def _readable(audit: Audit) -> dict[str, Any]:
    """The settings of the descriptor, with functions replaced by their names."""
    names = {k: getattr(v, "__qualname__", repr(v)) for k, v in audit.hypers.items() if callable(v)}
    return audit.hypers | names | {"kind": audit.label}


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
    """Results and open questions, in a few sentences."""
    collided, undecided = len(audit.collisions), len(audit.undecided)
    open_ends = _not_compared(audit)
    sentences = []
    if collided:
        sentences.append(
            f"{_count(collided, 'pair')} of different environments {_have(collided)} equal rows, "
            f"{_far(audit)} of them certified to be more than {FAR} Å apart. No model on this "
            "descriptor can be right for both."
        )
    if undecided:
        low = audit.pairs.lower[audit.undecided].min()
        high = audit.pairs.upper[audit.undecided].max()
        sentences.append(
            f"Undecided: {_count(undecided, 'more pair' if collided else 'pair')} "
            f"{_have(undecided)} equal rows ({_named(audit, audit.undecided)}), but the bounds on "
            f"the geometric distance, {round(low, 4):g} to {round(high, 4):g} Å, include the floor "
            f"of {audit.floor:g} Å, below which environments are considered equal."
        )
    if not sentences:
        found = "No collision among the pairs compared" if open_ends else "None"
        sentences.append(f"{found}: no two different environments among these have equal rows.")
    return " ".join(sentences + open_ends)


def _not_compared(audit: Audit) -> list[str]:
    """Sentences about pairs that may have equal rows but were not compared."""
    sentences = []
    if audit.n_equal_skipped:
        sentences.append(
            f"Not compared: {_count(audit.n_equal_skipped, 'more pair')} with equal rows; raise "
            "max_pairs."
        )
    if audit.n_crowded:
        sentences.append(
            f"Partly compared: {_count(audit.n_crowded, 'environment')} with more (nearly) equal "
            "rows than were looked up."
        )
    return sentences


def _named(audit: Audit, places: np.ndarray) -> str:
    """The first few pairs, given by frames and atoms."""
    pairs = [_pair(audit, int(place)) for place in places[:NAMED]]
    names = [
        " and ".join(f"atom {i} of frame {a}" for a, i in zip(*ends, strict=True))
        for ends in ((pair["frames"], pair["atoms"]) for pair in pairs)
    ]
    return "; ".join(names) + ("; …" if len(places) > NAMED else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def report(audit: Audit) -> str:
    """The report as Markdown."""
    sentences = [f"# Audit of {audit.label!r}", _scope(audit), "## Collisions"]
    sentences.append(verdict(audit))
    if len(audit.collisions):
        order = audit.collisions[np.argsort(-audit.pairs.lower[audit.collisions])]
        sentences += ["Pairs furthest apart, certified:", _table(audit, order[:LISTED])]
    if len(audit.undecided):
        order = audit.undecided[np.argsort(-audit.pairs.upper[audit.undecided])]
        sentences += ["Undecided pairs, by the upper bound of their distance:"]
        sentences += [_table(audit, order[:LISTED])]
    if audit.parted:
        sentences += ["### Resolution needed", _parted(audit)]
    sentences += [
        "## Weakest pairs that are distinguished",
        "Compared pairs, by the ratio of descriptor distance and geometric distance. The latter is "
        "that of the best alignment found from several starts, an upper bound.",
        _table(audit, weakest(audit)[:LISTED]),
        "![Descriptor distance against geometric distance](distances.png)",
    ]
    if len(audit.smallest):
        sentences += ["## Sensitivity", _sensitivity(audit)]
        sentences += ["![Histogram of smallest singular values](sensitivity.png)"]
    sentences += [
        "## Settings",
        f"    {to_json(_readable(audit))}",
        f"{audit.seconds:.0f} s in total.",
    ]
    return "\n\n".join(sentences) + "\n"


def _scope(audit: Audit) -> str:
    """What was compared, and which rows are considered equal."""
    hypers, search = audit.hypers, audit.search
    compared, skipped = len(audit.pairs.first), len(search.skipped)
    sizes = [f"{name}={hypers[name]}" for name in ("n_max", "l_max") if name in hypers]
    resolution = "".join(f", {size}" for size in sizes)
    distinct = _count(len(audit.atom) - search.n_equal, "environment")
    text = (
        f"{_count(len(audit.atom), 'environment')}, cutoff {hypers['cutoff']} Å{resolution}; "
        f"{distinct} without those within {audit.floor:g} Å of another one, the floor below which "
        f"environments are considered equal. They form {_count(search.n_pairs, 'pair')} with the "
        f"same central species. The search for the nearest rows of each environment found "
        f"{_count(compared + skipped, 'pair')}, of which {compared} were compared in geometry, "
        f"nearest rows first. Rows are considered equal if they differ by at most "
        f"{audit.tolerance:.1e} of their median norm: the larger of rounding and the median change "
        f"due to a displacement of {audit.precision:g} Å over {len(audit.random.first)} random "
        "pairs."
    )
    if skipped and not audit.n_equal_skipped:
        text += " None of the pairs that were not compared has equal rows."
    return text


def _sensitivity(audit: Audit) -> str:
    low, middle = np.min(audit.smallest), np.median(audit.smallest)
    n_soft = int((audit.soft > 0).sum())
    return (
        "Smallest singular value of the Jacobian over "
        f"{len(audit.smallest)} of the {_count(len(audit.atom), 'environment')}, chosen at random: "
        f"lowest {low:.1e}, median {middle:.1e} per Å. {n_soft} of these {_have(n_soft)} a "
        f"direction in which the descriptor does not change to first order (less than {SOFT:g} "
        "of the largest singular value), due to symmetry or blindness."
    )


def _table(audit: Audit, places: np.ndarray) -> str:
    if not len(places):
        return "None."
    lines = ["| frame, atom | frame, atom | descriptor distance | geometric distance / Å |"]
    lines.append("|---|---|---|---|")
    for entry in (_pair(audit, int(place)) for place in places):
        (a, b), (i, j) = entry["frames"], entry["atoms"]
        low, high = entry["geometric_lower_bound_A"], entry["geometric_distance_A"]
        distance = f"{high:.4f}" if high - low < 5e-5 else f"{low:.4f} to {high:.4f}"
        distance = f"at most {high:.4f}" if low < 5e-5 else distance
        apart = f"{entry['descriptor_distance']:.1e} | {distance}"
        lines.append(f"| {a}, {i} | {b}, {j} | {apart} |")
    return "\n".join(lines)


def _parted(audit: Audit) -> str:
    tried = audit.parted[0]["tried"]
    head = " | ".join(f"{name}: smallest l_max" for name in tried)
    lines = [f"| pair | {head} |", "|---" * (len(tried) + 1) + "|"]
    for entry in audit.parted:
        pair = _pair(audit, entry["pair"])
        (a, b), (i, j) = pair["frames"], pair["atoms"]
        cells = " | ".join(_smallest(entry[name], degrees) for name, degrees in tried.items())
        lines.append(f"| {a}, {i} and {b}, {j} | {cells} |")
    n_equal = len(audit.collisions) + len(audit.undecided)
    degrees = {name: ", ".join(map(str, of)) for name, of in tried.items() if of}
    text = f"Pairs of equal rows, collisions first: {len(audit.parted)} of {n_equal}."
    if degrees:
        tried_of = "; ".join(f"{of} for the {name}" for name, of in degrees.items())
        text += f" l_max tried: {tried_of}. Environments whose rows differ at any l_max differ."
    return "\n".join([text, "", *lines])


def _smallest(l_max: int | None, tried: list[int]) -> str:
    if l_max is not None:
        return str(l_max)
    return f"none up to {tried[-1]}" if tried else "not tried: fitted for one l_max"
