"""Figures of a fit. Matplotlib is imported only when a figure is drawn."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tripletjax.kernels.uncertainty import calibration
from tripletjax.plotting import drawing
from tripletjax.training.metrics import Comparison

COLORS = {"train": "0.7", "valid": "#dd8452", "test": "#2f5d8a"}
MOST_POINTS = 20_000


def parity_figure(path: str | Path, compared: dict[str, Comparison]) -> None:
    """Predicted against reference energies per atom, and force components."""
    note = "Points on the diagonal are predicted exactly."
    with drawing(path, (9, 4.8), note) as figure:
        energy, forces = figure.subplots(1, 2)
        for name, found in compared.items():
            color = COLORS[name]
            count = found.n_atoms
            reference, predicted = found.energy / count, found.predicted_energy / count
            energy.plot(reference, predicted, "o", ms=3, color=color, label=name, alpha=0.7)
            x, y = found.forces.ravel(), found.predicted_forces.ravel()
            every = max(1, len(x) // MOST_POINTS)
            forces.plot(x[::every], y[::every], ".", ms=2, color=color, label=name, alpha=0.7)
        for axis, quantity in ((energy, "energy - references / eV/atom"), (forces, "force / eV/Å")):
            axis.axline((0, 0), slope=1, color="0.3", lw=0.8)
            axis.set(xlabel=f"reference {quantity}", ylabel=f"predicted {quantity}")
            axis.legend(loc="upper left", frameon=False)


def calibration_figure(path: str | Path, checked: Mapping[str, tuple[np.ndarray, ...]]) -> None:
    """Errors against predicted standard deviations, in bins of equal numbers.

    Args:
        path: PNG file to write.
        checked: for each part of the data, errors and deviations ``[2, N]`` of energies, eV, and of
            force components, eV/Å; of any number.
    """
    note = (
        "Each point: a tenth of the labels, by predicted deviation. On the line error bars are "
        "right;\nabove it they are too small, below too large."
    )
    with drawing(path, (9, 4.8), note) as figure:
        axes = figure.subplots(1, 2)
        titles = ("energy of a structure", "meV"), ("force component", "meV/Å")
        for kind, (axis, (title, unit)) in enumerate(zip(axes, titles, strict=True)):
            ends = [1.0]
            for name, parts in checked.items():
                errors, deviations = parts[kind]
                is_known = deviations > 0
                if not is_known.any():
                    continue
                found = calibration(1e3 * errors[is_known], 1e3 * deviations[is_known])
                label = f"{name}: error = {found.factor:.2f} × deviation"
                axis.plot(found.predicted, found.actual, "o", color=COLORS[name], label=label)
                ends = [*found.predicted, *found.actual]
            axis.axline((ends[0], ends[0]), slope=1, color="0.3", lw=0.8)
            axis.set(xscale="log", yscale="log", title=title)
            axis.set_xlabel(f"predicted standard deviation / {unit}")
            axis.set_ylabel(f"root mean square error / {unit}")
            for ticks in (axis.xaxis, axis.yaxis):
                ticks.set_major_formatter("{x:g}")
                ticks.set_minor_formatter("{x:g}")
            axis.tick_params(which="both", labelsize=7)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(loc="lower right", frameon=False)
            else:
                axis.set_title(f"{title}: no labels")


def loss_figure(path: str | Path, history: list[dict[str, float]]) -> None:
    """Training loss and validation errors against the number of steps."""
    note = "Both should still decrease at the end, or have converged together."
    with drawing(path, (9, 4), note) as figure:
        left, right = figure.subplots(1, 2)
        steps = [row["step"] for row in history]
        left.plot(steps, [row["train_loss"] for row in history], color="0.4", label="training loss")
        names = {
            "valid_energy_mae_mev_per_atom": "energy MAE / meV/atom",
            "valid_force_mae_ev_per_A": "force MAE / eV/Å",
        }
        for name, label in names.items():
            if name in history[0]:
                right.plot(steps, [row[name] for row in history], label=label)
        for axis in (left, right):
            axis.set(xlabel="step", yscale="log")
            axis.legend(loc="upper right", frameon=False)
        left.set_ylabel("loss")
        right.set_ylabel("validation error")
