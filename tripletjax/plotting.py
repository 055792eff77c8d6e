"""Figures. Matplotlib is imported only when one is drawn."""

from pathlib import Path

import numpy as np

from tripletjax.io import atomic_open

CONNECTED = "#c44e52"
POINTS = "#2f5d8a"


def pair_parity(
    path: str | Path, reference: np.ndarray, predictions: dict[str, np.ndarray], note: str
) -> None:
    """Predicted against reference energy, one panel a model, a line joining each pair.

    Args:
        path: PNG to write.
        reference: ``[2 P]`` eV, structures 2p and 2p + 1 being pair p.
        predictions: title of each panel and its predictions ``[2 P]`` eV.
        note: a sentence on what to see, under the panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(predictions), 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(predictions), sharex=True, sharey=True, squeeze=False)[0]
    shift = reference.mean()
    limits = np.array([reference.min(), reference.max()]) - shift
    limits = limits + np.array([-0.04, 0.04]) * np.ptp(limits)
    for axis, (title, predicted) in zip(axes, predictions.items(), strict=True):
        x, y = reference - shift, predicted - shift
        axis.plot(limits, limits, color="0.75", lw=0.8, zorder=0)
        axis.plot(x.reshape(-1, 2).T, y.reshape(-1, 2).T, color=CONNECTED, lw=0.9, zorder=1)
        axis.plot(x, y, "o", ms=2.2, color=POINTS, zorder=2)
        axis.plot([], [], "o-", ms=2.2, color=POINTS, label="a pair (joined by a line)")
        axis.lines[-1].set(color=CONNECTED, markerfacecolor=POINTS, markeredgecolor=POINTS)
        axis.set(title=title, xlim=limits, ylim=limits, aspect="equal")
        axis.set_xlabel("reference energy - mean / eV")
        axis.legend(loc="upper left", frameon=False)
    axes[0].set_ylabel("predicted energy - mean / eV")
    figure.supxlabel(note, fontsize=9)
    with atomic_open(path) as file:
        figure.savefig(file, format="png", dpi=150)
