"""The worst separation of every family by every descriptor, as rows, as text and as a figure."""

from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.plotting import drawing

EQUAL = {"relative": 1e-12, "relative_float32": 1e-6}  # relative distances that rounding leaves
MEASURES = ("contrast", "relative", "relative_float32")


def worst(families: dict[str, list[dict]], descriptors: list[str]) -> list[dict[str, Any]]:
    """One row for each family and relation of its members.

    Of pairs that are not related by an isometry, the smallest contrast and relative distances; of
    those that are, the largest relative distances.
    """
    rows = []
    for family, records in families.items():
        for relation in ("none", "rotation", "reflection"):
            chosen = [record for record in records if record["relation"] == relation]
            if chosen:
                pick = min if relation == "none" else max
                cells = {
                    name: {
                        measure: pick(values)
                        for measure in MEASURES
                        if (values := _values(chosen, name, measure))
                    }
                    for name in descriptors
                }
                label = family if relation == "none" else f"{family} ({relation})"
                rows.append({"family": label, "relation": relation, "pairs": len(chosen)}
                            | {"cells": {k: v for k, v in cells.items() if v}})  # fmt: skip
    return sorted(rows, key=lambda row: row["relation"] != "none")


def _values(records: list[dict], descriptor: str, measure: str) -> list[float]:
    cells = [record["separations"].get(descriptor, {}) for record in records]
    return [cell[measure] for cell in cells if measure in cell]


def as_text(rows: list[dict], descriptors: list[str]) -> str:
    """Three tables: contrast, and relative distances in float64 and float32."""
    titles = {
        "contrast": "Contrast |F - F'| / (|J| d), smallest of each family, float64",
        "relative": "Relative distance |F - F'| / |F|, smallest (isometric: largest), float64",
        "relative_float32": "Relative distance |F - F'| / |F|, smallest (isometric: largest), "
        "float32",
    }
    parts = []
    for measure, title in titles.items():
        wide = max(len(row["family"]) for row in rows) + 1
        widths = [max(len(name), 9) for name in descriptors]
        lines = [title, ""]
        lines.append(
            " " * wide + "  ".join(f"{n:>{w}}" for n, w in zip(descriptors, widths, strict=True))
        )
        for row in rows:
            cells = [cell_text(row, name, measure) for name in descriptors]
            if any(cells):
                shown = "  ".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
                lines.append(f"{row['family']:{wide}}{shown}".rstrip())
        parts.append("\n".join(lines))
    note = "equal: to 1e-12 of the norm in float64, to 1e-6 in float32. Empty: not computed.\n"
    return "\n\n".join([*parts, note])


def cell_text(row: dict, descriptor: str, measure: str) -> str:
    cell = row["cells"].get(descriptor, {})
    if measure not in cell:
        return ""
    return "equal" if is_equal(cell, measure) else f"{cell[measure]:.1e}"


def is_equal(cell: dict, measure: str) -> bool:
    """Whether rounding alone could be what parts the members."""
    by = "relative_float32" if measure == "relative_float32" else "relative"
    return cell[by] <= EQUAL[by]


def draw(path: Path, rows: list[dict], descriptors: list[str]) -> None:
    """Heat maps of the contrast in float64 and of the relative distance in float32."""
    from matplotlib.patches import Patch

    rows = [row for row in rows if row["relation"] == "none"]
    note = (
        "Worst pair of each family. Every descriptor but the fingerprints has dark cells, families "
        "that it cannot tell apart;\nfingerprints have none from some l on, but their contrast "
        "falls as more of the neighbourhood must be seen at once."
    )
    with drawing(path, (12.5, 2.4 + 0.3 * len(rows)), note) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        titles = {
            "contrast": ("contrast, float64", "log10 of |F - F'| / (|J| d), dimensionless"),
            "relative_float32": ("relative distance, float32", "log10 of |F - F'| / |F|"),
        }
        for axis, (measure, (title, label)) in zip(axes, titles.items(), strict=True):
            values = np.full((len(rows), len(descriptors)), np.nan)
            for (i, j), _ in np.ndenumerate(values):
                cell = rows[i]["cells"].get(descriptors[j], {})
                if measure in cell and not is_equal(cell, measure):
                    values[i, j] = np.log10(cell[measure])
                elif measure in cell:
                    axis.add_patch(_square(i, j, "0.25"))
            low = np.floor(np.nanmin(values)) if np.isfinite(values).any() else -1.0
            image = axis.imshow(values, cmap="viridis", vmin=low, vmax=0, aspect="auto")
            figure.colorbar(image, ax=axis, label=label, shrink=0.6)
            axis.set_xticks(
                range(len(descriptors)), descriptors, rotation=60, ha="right", fontsize=8
            )
            axis.set_title(title, fontsize=10)
        axes[0].set_yticks(range(len(rows)), [row["family"] for row in rows], fontsize=8)
        legend = [
            Patch(color="0.25", label="equal to rounding: not told apart"),
            Patch(facecolor="white", edgecolor="0.6", label="not computed"),
        ]
        figure.legend(handles=legend, loc="outside upper right", ncols=2, frameon=False, fontsize=8)


def _square(row: int, column: int, color: str):
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, color=color, lw=0)
