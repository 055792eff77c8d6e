"""The two forms of the minimal triplet invariants, edge and stretched, compared.

    python -m experiments.triplet_forms.run [--out FOLDER] [--pairs N] [--repeats N]

Conditioning of the map from the density to the invariants, errors in float32, separation of B8
pairs by pooled features, and time. Only ratios of times within one run mean anything.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.timing import seconds
from tripletjax.basis.angular import harmonic_slice
from tripletjax.data.b8 import load_b8
from tripletjax.invariants.triplets import environment_triplets, triplet_index, triplet_invariants
from tripletjax.io import provenance, save_json
from tripletjax.testing import random_rotation
from tripletjax.types import TRIPLET_FORMS, Basis

ANGLES = (90, 60, 30, 10)  # degrees
L_MAX = 8
B8_BASIS = Basis(
    cutoff=2.0, cutoff_width=0.1, radial="gaussian", radial_range=(1.5, 1.9), n_max=2, l_max=6
)
LENGTH_SCALES = (0.5, 1.0, 2.0)  # times the median distance of two triplets' invariants
N_FEATURES = 512
TIMED = Basis(cutoff=5.0, n_max=4, l_max=6)
N_NEIGHBORS = 16


def tags_at(degrees: float, seed: int) -> np.ndarray:
    """Two unit vectors [2, 3] that enclose an angle, turned at random."""
    theta = np.deg2rad(degrees)
    return np.array([[0, 0, 1], [np.sin(theta), 0, np.cos(theta)]]) @ random_rotation(seed).T


def map_matrices(tags: np.ndarray, form: str) -> list[np.ndarray]:
    """The (2l+1)² matrix from c_lm to the invariants of degree l, for l = 0 ... L_MAX."""
    size = (L_MAX + 1) ** 2
    # Unit densities, one a channel, give the columns.
    parts = [np.asarray(part)[0] for part in invariants(np.eye(size)[None], *tags, form)]
    degrees = [np.array([l for l, _ in triplet_index(L_MAX, parity)]) for parity in (1, -1)]
    return [
        np.concatenate(
            [part[harmonic_slice(l), of == l] for part, of in zip(parts, degrees, strict=True)], 1
        ).T
        for l in range(L_MAX + 1)
    ]


invariants = jax.jit(triplet_invariants, static_argnames="form")


def conditioning() -> dict[str, dict[str, list[float]]]:
    """Condition numbers for l = 1 ... L_MAX, by form and angle."""
    return {
        form: {
            str(angle): [
                float(np.linalg.cond(matrix))
                for matrix in map_matrices(tags_at(angle, 0), form)[1:]
            ]
            for angle in ANGLES
        }
        for form in TRIPLET_FORMS
    }


def single_precision(n_samples: int = 20) -> dict[str, dict[str, dict[str, float]]]:
    """Median relative errors of the float32 invariants and of the density solved from them."""
    result: dict[str, dict[str, dict[str, float]]] = {form: {} for form in TRIPLET_FORMS}
    for form in TRIPLET_FORMS:
        for angle in ANGLES:
            forward, backward = [], []
            for seed in range(n_samples):
                tags, random = tags_at(angle, seed), np.random.default_rng(seed)
                c = random.normal(size=(1, 1, (L_MAX + 1) ** 2)).astype(np.float32)
                # The same numbers for both precisions: what is measured is the arithmetic.
                single = tags.astype(np.float32)
                exact = joined(invariants(c.astype(float), *unit(single), form))
                rounded = joined(invariants(c, *single, form))
                forward.append(relative(rounded, exact))
                recovered = solve(map_matrices(unit(single), form), rounded)
                backward.append(relative(recovered, c.ravel().astype(float)))
            result[form][str(angle)] = {
                "invariants": statistics.median(forward),
                "density": statistics.median(backward),
            }
    return result


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(float)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def joined(parts: Any) -> np.ndarray:
    """Even and odd invariants of one channel, one after the other, in float64."""
    return np.concatenate([np.asarray(part, float).ravel() for part in parts])


def solve(matrices: list[np.ndarray], values: np.ndarray) -> np.ndarray:
    """The density coefficients [lm] from the invariants, degree by degree."""
    degrees = np.array([l for parity in (1, -1) for l, _ in triplet_index(L_MAX, parity)])
    solved = [np.linalg.solve(matrix, values[degrees == l]) for l, matrix in enumerate(matrices)]
    return np.concatenate(solved)


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def b8_triplets(positions: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray]:
    """Even (with geometry) and odd invariants of all 42 triplets, [S, 42, ...].

    All neighbours are where f_c = 1, so that triplets need no weights.
    """
    different = ~np.eye(7, dtype=bool)
    species, mask = jnp.zeros(7, int), jnp.ones(7, bool)

    @jax.jit
    def of_one(vectors):
        return environment_triplets(vectors, species, mask, B8_BASIS, 1, form)

    rows = []
    for structure in positions:
        vectors = structure[1:] - structure[0]
        even, odd, geometry = (np.asarray(part, float)[different] for part in of_one(vectors))
        geometry = geometry / np.array([B8_BASIS.cutoff, B8_BASIS.cutoff, 1.0])
        rows.append([even.reshape(42, -1), geometry, odd.reshape(42, -1)])
    even, geometry, odd = (np.stack(part) for part in zip(*rows, strict=True))
    # One scale for all columns: the root mean square over triplets of what varies among them.
    scale = np.sqrt(even.var((0, 1)).sum() + odd.var((0, 1)).sum())
    return np.concatenate([even / scale, geometry], -1), odd / scale


def separation(n_pairs: int) -> dict[str, dict[str, dict[str, float]]]:
    """Relative distances of B8 pairs in Σ cos(W·e + b) cos(V·o), by form and length-scale.

    Lengths are in units of the median distance between triplets, so that both forms' kernels are
    equally wide.
    """
    positions = load_b8().positions[: 2 * n_pairs]
    result: dict[str, dict[str, dict[str, float]]] = {}
    for form in TRIPLET_FORMS:
        even, odd = b8_triplets(positions, form)
        every = np.concatenate([even, odd], -1).reshape(-1, even.shape[-1] + odd.shape[-1])
        drawn = np.random.default_rng(1).choice(len(every), (2, 4000))
        unit_length = np.median(np.linalg.norm(every[drawn[0]] - every[drawn[1]], axis=-1))
        result[form] = {}
        for length in LENGTH_SCALES:
            random = np.random.default_rng(0)
            width = 1 / (length * unit_length)
            w = random.normal(size=(even.shape[-1], N_FEATURES)) * width
            v = random.normal(size=(odd.shape[-1], N_FEATURES)) * width
            phase = random.uniform(0, 2 * np.pi, N_FEATURES)
            pooled = (np.cos(even @ w + phase) * np.cos(odd @ v)).sum(1)
            apart = np.linalg.norm(pooled[::2] - pooled[1::2], axis=1)
            apart /= np.linalg.norm(pooled[::2], axis=1)
            smallest, low, middle = np.quantile(apart, [0, 0.1, 0.5])
            result[form][str(length)] = {
                "smallest": float(smallest),
                "tenth": float(low),
                "median": float(middle),
            }
    return result


def timing(repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds for all triplets of one environment, and for value and gradient; float32."""
    random = np.random.default_rng(0)
    vectors = random.uniform(-2.8, 2.8, size=(N_NEIGHBORS, 3)).astype(np.float32)
    species, mask = jnp.zeros(N_NEIGHBORS, jnp.int32), jnp.ones(N_NEIGHBORS, bool)
    result = {}
    for form in TRIPLET_FORMS:

        def total(vectors, form=form):
            even, odd, _ = environment_triplets(vectors, species, mask, TIMED, 1, form)
            return jnp.sum(jnp.cos(even)) + jnp.sum(odd**2)

        result[form] = {
            "value_ms": 1e3 * seconds(jax.jit(total), vectors, repeats),
            "value_and_gradient_ms": 1e3
            * seconds(jax.jit(jax.value_and_grad(total)), vectors, repeats),
        }
    edge, stretched = (result[form] for form in TRIPLET_FORMS)
    result["stretched over edge"] = {name: stretched[name] / edge[name] for name in edge}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    parser.add_argument("--pairs", type=int, default=200, help="B8 pairs")
    parser.add_argument("--repeats", type=int, default=21, help="timed calls")
    arguments = parser.parse_args()
    with jax.enable_x64(True):
        record = {
            "condition_number": conditioning(),
            "float32_relative_error": single_precision(),
            "b8_separation": separation(arguments.pairs),
            "time": timing(arguments.repeats),
        }
    settings = {
        "angles": ANGLES,
        "l_max": L_MAX,
        "b8": {"basis": repr(B8_BASIS), "features": N_FEATURES, "pairs": arguments.pairs},
        "time": {"basis": repr(TIMED), "neighbours": N_NEIGHBORS, "repeats": arguments.repeats},
    }
    save_json(arguments.out / "results.json", record | {"settings": settings} | provenance())
    for name, part in record.items():
        print(name)
        for form, row in part.items():
            for key, value in row.items():
                print(f"  {form:10} {key:>8}  {rounded(value)}")


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else f"{value:.3g}"


if __name__ == "__main__":
    main()
