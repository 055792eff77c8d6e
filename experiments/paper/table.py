"""The table: published errors beside those of the result files."""

import json
from pathlib import Path
from typing import Any

from experiments.paper.labels import DATA
from experiments.paper.rows import ROWS

HEADER = f"{'row':9}{'labels':>7}{'train':>6}  {'epoch of':9}{'mean':>8}  {'delta, 95 % interval':24}"
PUBLISHED = "   published: mean  delta"


def results(folder: Path) -> list[dict[str, Any]]:
    """All result files of rows of the table, in its order."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    found = [record for record in found if record.get("settings", {}).get("row") in ROWS]
    order = list(ROWS)

    def place(record):
        settings = record["settings"]
        size = record["structures"]["train"]
        return order.index(settings["row"]), settings["labels"], -size, settings["seed"]

    return sorted(found, key=place)


def table(folder: Path) -> str:
    """Errors on the test structures."""
    published = json.loads((DATA / "paper_table.json").read_text())["rows"]
    lines = [HEADER + PUBLISHED]
    for record in results(folder):
        settings = record["settings"]
        theirs = published[ROWS[settings["row"]].published]
        for choice in ("valid", "test"):
            entry = record.get(f"best_on_{choice}")
            if entry is None:
                continue
            low, high = entry["test_interval"]["delta"]
            delta = f"{entry['test']['delta']:.5f} ({low:.3f} to {high:.3f})"
            lines.append(
                f"{settings['row']:9}{settings['labels']:>7}{record['structures']['train']:6d}  "
                f"{choice:9}{entry['test']['mean']:8.4f}  {delta:24}"
                f"{theirs['mean_test']:18.4f}{theirs['delta_test']:9.5f}"
            )
    return "\n".join(lines)
