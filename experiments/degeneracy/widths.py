"""How far kernels of other widths part the classes that the bispectrum cannot, and what it costs.

    python -m experiments.degeneracy.widths

The contrast of the worst pair for each length_scale, and the errors of a Gaussian process on B8
energies (2000 to train, 1000 to test) with the same fingerprint.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from experiments.degeneracy.references import CUTOFF, N_MAX, N_SPECIES, scaled, width_of
from tripletjax import descriptor
from tripletjax.completeness.families import instances
from tripletjax.completeness.separations import pair_separation, structure_distance
from tripletjax.data.b8 import load_b8
from tripletjax.demo import DESCRIPTORS, pair_errors
from tripletjax.descriptors.description import describe
from tripletjax.io import provenance, save_json
from tripletjax.kernels import gaussian_process

FAMILIES = ("b8", "ch6o", "double_ring", "polyhedron_subsets")
RINGS = "coprime_rings"  # its first instance: three times four sites
LENGTH_SCALES = (3.0, 1.5, 1.0, 0.7, 0.5, 0.35, 0.25)
ELEMENTS = tuple(range(1, N_SPECIES + 1))  # only their number counts
HYPERS = {"cutoff": CUTOFF, "n_max": N_MAX, "l_max": 6, "n_features": 256}


def pairs():
    """Those that the bispectrum cannot tell apart and no isometry relates."""
    chosen = [pair for pair in instances(FAMILIES) if pair.relation == "none"]
    chosen += instances([RINGS])[:1]
    return [scaled(pair) for pair in chosen if "bispectrum" in pair.defeats]


@jax.jit
def evaluate(parameters, vectors, species, mask, center, displacements):
    """Values of one environment and their changes along some displacements."""
    function = descriptor("fingerprint", ELEMENTS, **HYPERS).apply
    apply = lambda v: function(parameters, v, species, mask, center)  # noqa: E731
    change = lambda moves: jax.jvp(apply, (vectors,), (moves,))  # noqa: E731
    return jax.vmap(change, out_axes=(None, 0))(displacements)


def contrasts(length_scale: float, chosen, distances) -> dict[str, float]:
    """Contrast of every pair, float64."""
    parameters = descriptor(
        "fingerprint", ELEMENTS, **(HYPERS | {"length_scale": length_scale})
    ).parameters  # fmt: skip
    with jax.enable_x64(True):
        return {
            pair.name: pair_separation(
                partial(evaluate, parameters), pair, CUTOFF, distance, width=width_of
            ).contrast
            for pair, distance in zip(chosen, distances, strict=True)
        }


def b8_errors(length_scale: float, n_train: int = 2000, n_test: int = 1000) -> dict[str, float]:
    """Relative errors on pair means and differences, as in the demo."""
    data = load_b8()
    chosen = np.r_[:n_train, len(data.energies) - n_test : len(data.energies)]
    hypers = DESCRIPTORS["fingerprint"] | {"length_scale": length_scale}
    values = describe(data.frames(chosen), "fingerprint", centers=[0], **hypers).values
    energies = data.energies[chosen]
    model = gaussian_process(values[:n_train], energies[:n_train])
    return pair_errors(model.predict(values[n_train:]), energies[n_train:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    arguments = parser.parse_args()
    chosen = pairs()
    distances = [structure_distance(pair) for pair in chosen]
    rows = []
    for length_scale in tqdm(LENGTH_SCALES, unit="width"):
        found = contrasts(length_scale, chosen, distances)
        rows.append({"length_scale": length_scale, "contrast": found, **b8_errors(length_scale)})
        worst = min(found.values())
        errors = f"{rows[-1]['mean']:.3f} / {rows[-1]['difference']:.3f}"
        print(f"length_scale {length_scale}: worst contrast {worst:.1e}, B8 {errors}", flush=True)
    save_json(arguments.out / "widths.json", {"hypers": HYPERS, "rows": rows, **provenance()})


if __name__ == "__main__":
    main()
