"""Figures. Matplotlib is imported only when a figure is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.io import atomic_open

CONNECTED = "#c44e52"
POINTS = "#2f5d8a"
UNDECIDED = "#dd8452"


@contextmanager
def drawing(
    path: str | Path, size: tuple[float, float], note: str, dpi: int = 130
) -> Iterator[Any]:
    """Context of a Matplotlib figure, saved atomically to a PNG file at the end.

    Args:
        path: PNG file to write.
        size: width and height in inches.
        note: a sentence below the panels on what they show.
        dpi: dots per inch.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "line.png"
        >>> with drawing(file, (3, 3), "A line.") as figure:
        ...     _ = figure.subplots().plot([0, 1])
        >>> file.exists()
        True
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    figure.supxlabel(note, fontsize=9)
    with atomic_open(path) as file:
        figure.savefig(file, format="png", dpi=dpi)


def pair_parity(
    path: str | Path, reference: np.ndarray, predictions: dict[str, np.ndarray], note: str
) -> None:
    """Predicted against reference energy, one column per model, with a line connecting each pair.

    The upper panels show the energies, the lower ones the energies minus the mean of each pair.

    Args:
        path: PNG file to write.
        reference: ``[2 P]`` eV, structures 2p and 2p + 1 being pair p.
        predictions: title of each panel and its predictions ``[2 P]`` eV.
        note: a sentence below the panels on what they show.
    """
    with drawing(path, (4.6 * len(predictions), 9), note) as figure:
        axes = figure.subplots(2, len(predictions), sharex="row", sharey="row", squeeze=False)
        for column, (title, predicted) in enumerate(predictions.items()):
            absolute, relative = axes[:, column]
            shift = reference.mean()
            _draw_pairs(absolute, reference - shift, predicted - shift)
            absolute.set(title=title, xlabel="reference energy - mean / eV")
            _draw_pairs(relative, _from_pair_mean(reference), _from_pair_mean(predicted))
            relative.set_xlabel("reference energy - pair's mean / eV")
        axes[0, 0].set_ylabel("predicted energy - mean / eV")
        axes[1, 0].set_ylabel("predicted energy - pair's mean / eV")
        axes[0, 0].plot([], [], "-o", ms=3, color=CONNECTED, mfc=POINTS, mec=POINTS, label="a pair")
        axes[0, 0].legend(loc="upper left", frameon=False)


def distance_scatter(
    path: str | Path,
    series: dict[str, tuple[np.ndarray, np.ndarray]],
    tolerance: float,
    floor: float,
) -> None:
    """Distance in a descriptor against geometric distance, on logarithmic axes.

    Args:
        path: PNG file to write.
        series: name of each set of pairs, its geometric distances in Å and descriptor distances.
        tolerance: descriptor distance up to which rows are equal; those below a third of it are
            drawn at a third.
        floor: Å up to which environments are equal; smaller distances are drawn likewise.
    """
    note = (
        "Below the dashed line, rows are equal; to the left of the dotted line, environments are.\n"
        "The geometric distance is that of the best alignment found, an upper bound. Only\n"
        "collisions also have a certified lower bound: the descriptor cannot distinguish them."
    )
    with drawing(path, (6, 5.2), note) as figure:
        axis = figure.subplots()
        for (name, (geometric, descriptor)), color in zip(
            series.items(), ("0.7", POINTS, UNDECIDED, CONNECTED), strict=False
        ):
            shown = np.maximum(descriptor, tolerance / 3)
            axis.plot(np.maximum(geometric, floor / 3), shown, "o", ms=2.5, color=color, label=name)
        axis.axhline(tolerance, color="0.4", lw=0.8, ls="--")
        axis.axvline(floor, color="0.4", lw=0.8, ls=":")
        axis.set(xscale="log", yscale="log", xlabel="geometric distance / Å")
        axis.set_ylabel("descriptor distance / median norm")
        axis.legend(loc="upper left", frameon=False)


def sensitivity_histogram(path: str | Path, smallest: np.ndarray) -> None:
    """Histogram of the smallest singular values (1/Å) of the Jacobians of random environments."""
    note = (
        f"{len(smallest)} environments, chosen at random. On the far left, some displacement of\n"
        "the neighbours hardly changes the descriptor."
    )
    with drawing(path, (6, 4.2), note) as figure:
        axis = figure.subplots()
        lowest = 1e-16
        shown = np.log10(np.maximum(smallest, lowest))
        axis.hist(shown, bins=np.linspace(min(-6, np.floor(shown.min())), np.ceil(shown.max()), 41))
        axis.set(xlabel="log10 of the smallest singular value / Å$^{-1}$", ylabel="environments")


def _from_pair_mean(energies: np.ndarray) -> np.ndarray:
    pairs = energies.reshape(-1, 2)
    return (pairs - pairs.mean(1, keepdims=True)).ravel()


def _draw_pairs(axis, x: np.ndarray, y: np.ndarray) -> None:
    limits = np.array([x.min(), x.max()]) + np.array([-0.05, 0.05]) * np.ptp(x)
    axis.plot(limits, limits, color="0.75", lw=0.8, zorder=0)
    axis.plot(x.reshape(-1, 2).T, y.reshape(-1, 2).T, color=CONNECTED, lw=0.8, zorder=1)
    axis.plot(x, y, "o", ms=2.2, color=POINTS, zorder=2)
    axis.set(xlim=limits, ylim=limits, aspect="equal")
