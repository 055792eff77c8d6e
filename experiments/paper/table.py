"""The table: published errors beside those of the result files."""

import json
from pathlib import Path
from typing import Any

from experiments.paper.labels import DATA
from experiments.paper.ours import OURS
from experiments.paper.rows import ROWS

NAMES = [*ROWS, *OURS]
HEADER = (
    f"{'row':22}{'labels':>6}{'train':>6}{'epochs':>8}{'seconds':>8}  {'best on':8}"
    f"{'mean':>7}  {'delta, 95 % interval':26}published: mean    delta"
)


def results(folder: Path) -> list[dict[str, Any]]:
    """All result files of rows of the table, in its order."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    found = [record for record in found if record.get("settings", {}).get("row") in NAMES]

    def place(record):
        settings = record["settings"]
        size = n_known(record)
        return NAMES.index(settings["row"]), settings["labels"], -size, settings["seed"]

    return sorted(found, key=place)


def n_known(record: dict[str, Any]) -> int:
    """Structures to train and validate on."""
    return record["structures"]["train"] + record["structures"]["valid"]


def table(folder: Path) -> str:
    """Errors on the test structures."""
    published = json.loads((DATA / "paper_table.json").read_text())["rows"]
    lines = [HEADER]
    for record in results(folder):
        settings = record["settings"]
        theirs = ""
        paper = ROWS.get(settings["row"])
        if paper and paper.published:
            row = published[paper.published]
            theirs = f"{row['mean_test']:15.4f}{row['delta_test']:9.5f}"
        for choice in ("valid", "test"):
            entry = record.get(f"best_on_{choice}")
            if entry is None:
                continue
            low, high = entry["test_interval"]["delta"]
            delta = f"{entry['test']['delta']:.5f} ({low:.3f} to {high:.3f})"
            lines.append(
                f"{settings['row']:22}{settings['labels']:>6}{n_known(record):6d}"
                f"{record.get('epochs', '-'):>8}{record['seconds']:8.0f}  {choice:8}"
                f"{entry['test']['mean']:7.4f}  {delta:26}{theirs}"
            )
    return "\n".join(lines)
