"""Gaussian processes on energies, forces and stress, against dense formulas and differences."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from tripletjax import InputError, Potential, descriptor, load, prepare
from tripletjax.kernels import (
    EnvironmentKernel,
    KernelModel,
    Noise,
    SparseGaussianProcess,
    energy_deviations,
    fit_full_potential,
    fit_sparse_potential,
    nystrom_descriptor,
    structure_kernel,
)
from tripletjax.kernels.covariances import covariance_block
from tripletjax.kernels.designs import design_rows, energy_rows, environment_vectors
from tripletjax.kernels.span import Inducing
from tripletjax.kernels.tangents import structure_tangents
from tripletjax.kernels.variances import prior_energy_variances, prior_force_variances
from tripletjax.testing import assert_close, random_rotation

pytestmark = pytest.mark.once("float64")

HYPERS = {
    "cutoff": 3.0,
    "cutoff_function": "smooth",
    "cutoff_width": 1.5,
    "radial": "chebyshev",
    "n_max": 2,
    "l_max": 1,
}
SOAP = descriptor("power_spectrum", (1, 6, 8), **HYPERS)
KERNEL = EnvironmentKernel(length_scale=1.5)
NOISE = Noise(energy=1e-2, forces=2e-2, stress=1e-2)
STEPS = ((-2, 1), (-1, -8), (1, 8), (2, -1))


def waters(n=4, seed=0) -> list[Atoms]:
    """Water, shaken: three atoms of two species."""
    frames = []
    for index in range(n):
        frame = molecule("H2O")
        frame.rattle(0.12, seed=100 * seed + index)
        frames.append(frame)
    return frames


def crystals(n=3) -> list[Atoms]:
    """Two species in sheared cells that are shorter than the cutoff."""
    cell = bulk("NaCl", "rocksalt", a=4.4).cell
    frames = []
    for index in range(n):
        scaled = [[0, 0, 0], [0.5, 0.45, 0.52]]
        frame = Atoms("CO", scaled_positions=scaled, cell=cell, pbc=True)
        frame.rattle(0.1, seed=index)
        frames.append(frame)
    return frames


@cache
def labelled():
    """Three molecules and three crystals with made-up labels; of one molecule the energy alone."""
    random = np.random.default_rng(0)
    frames = waters(3) + crystals(3)
    forces = [random.normal(size=(len(frame), 3)) for frame in frames]
    forces[1] = None
    stress = [random.normal(scale=0.1, size=(3, 3)) if f.pbc.all() else None for f in frames]
    stress = [None if s is None else s + s.T for s in stress]
    return frames, random.normal(size=len(frames)), forces, stress


@cache
def sparse():
    return fit_sparse_potential(
        *labelled(), describer=SOAP, kernels=KERNEL, n_inducing=4, noise=NOISE
    )


@cache
def full():
    return fit_full_potential(*labelled(), describer=SOAP, kernel=KERNEL, noise=NOISE)


def in_float64(function):
    """Of a batch of some frames, compiled in float64 whatever the default is."""
    compiled = jax.jit(function)

    def evaluate(*frames):
        with jax.enable_x64(True):
            batch = prepare(list(frames), 3.0, SOAP.elements, "float64")
            return jax.device_get(compiled(batch))

    return evaluate


def inducing_of(potential) -> Inducing:
    """The points of a kernel potential."""
    weights = potential.weights
    return Inducing(weights["points"], np.array(potential.model.kinds, np.int32), weights["scale"])


@cache
def designed():
    return in_float64(partial(design_rows, SOAP, KERNEL, inducing_of(sparse())))


@cache
def energies_of():
    return in_float64(partial(energy_rows, SOAP, KERNEL, inducing_of(sparse())))


@cache
def predicted(process):
    return in_float64(process().energy_forces_stress)


@cache
def described():
    return in_float64(partial(environment_vectors, SOAP))


def slope(function, frame: Atoms, atom: int, axis: int):
    """Fourth-order difference with respect to one coordinate."""
    total = 0.0
    for steps, coefficient in STEPS:
        moved = frame.copy()
        moved.positions[atom, axis] += steps * 1e-3
        total = total + coefficient * np.asarray(function(moved)) / 12e-3
    return total


def strain_slope(function, frame: Atoms, a: int, b: int):
    total = 0.0
    for steps, coefficient in STEPS:
        strain = np.eye(3)
        strain[a, b] += steps * 1e-3
        strained = frame.copy()
        strained.set_cell(np.asarray(frame.cell) @ strain.T, scale_atoms=True)
        total = total + coefficient * np.asarray(function(strained)) / 12e-3
    return total


def structure_vectors(frame: Atoms):
    """Vectors in the potential's unit, and species, of one structure."""
    vectors, kinds = described()(frame)
    return vectors[: len(frame)] / float(sparse().weights["scale"]), kinds[: len(frame)]


def pairwise(a, kinds_a, b, kinds_b):
    """δ(species) exp(-|p - q|² / 2ℓ²), written out."""
    squared = ((a[:, None] - b[None]) ** 2).sum(-1)
    return np.exp(-squared / (2 * 1.5**2)) * (kinds_a[:, None] == kinds_b)


def test_energy_rows_are_sums_of_kernels():
    inducing = inducing_of(sparse())
    for frame in (waters()[0], crystals()[0]):
        vectors, kinds = structure_vectors(frame)
        expected = pairwise(vectors, kinds, inducing.vectors, inducing.kinds).sum(0)
        assert_close(energies_of()(frame)[0], expected, 1e-10)


@pytest.mark.parametrize("frame", [waters()[0], crystals()[1]], ids=["molecule", "crystal"])
def test_design_rows_are_derivatives_of_the_energy_rows(frame):
    rows = designed()(frame)
    energy = lambda f: energies_of()(f)[0]  # noqa: E731
    assert_close(rows.energy[0], energy(frame), 1e-12)
    for atom, axis in ((0, 0), (1, 2)):
        assert_close(rows.forces[atom, axis], -slope(energy, frame, atom, axis), 2e-8)
    if frame.pbc.all():
        expected = strain_slope(energy, frame, 1, 2) / frame.get_volume()
        assert_close(rows.stress[0, 1, 2], expected, 2e-8)
    assert not rows.forces[len(frame) :].any()


def test_several_structures_are_several_rows():
    frames = [waters()[0], crystals()[0]]
    together, apart = designed()(*frames), [designed()(frame) for frame in frames]
    assert_close(together.energy, np.concatenate([rows.energy for rows in apart]), 1e-12)
    forces = np.concatenate([rows.forces[: len(f)] for rows, f in zip(apart, frames, strict=True)])
    assert_close(together.forces[: len(forces)], forces, 1e-12)
    assert_close(together.stress[1], apart[1].stress[0], 1e-12)


@pytest.mark.parametrize("process", [sparse, full], ids=["sparse", "full"])
def test_forces_and_stress_are_derivatives_of_the_energy(process):
    predict = predicted(process)
    energy = lambda f: predict(f).energy[0]  # noqa: E731
    for frame in (waters(5)[4], crystals(4)[3]):
        found = predict(frame)
        size = np.abs(found.forces).max()
        assert abs(found.forces[1, 2] + slope(energy, frame, 1, 2)) < 1e-8 * size
    expected = strain_slope(energy, frame, 0, 1) / frame.get_volume()
    assert abs(found.stress[0, 0, 1] - expected) < 1e-8 * np.abs(found.stress).max()
    assert_close(found.stress[0], found.stress[0].T, 1e-9)


def test_predictions_are_rows_of_the_design_times_weights():
    potential, frame = sparse(), crystals(4)[3]
    found, rows = predicted(sparse)(frame), designed()(frame)
    reference = potential.references[1] + potential.references[2]
    assert_close(found.energy, rows.energy @ potential.weights["alpha"] + reference, 1e-10)
    assert_close(found.forces, rows.forces @ potential.weights["alpha"], 1e-9)
    assert_close(found.stress, rows.stress @ potential.weights["alpha"], 1e-9)


def dense(potential):
    """Rows, targets and noise of all labels of ``labelled``, in plain order, energies whole."""
    frames, energies, forces, stress = labelled()
    rows, targets, noise = [], [], []
    references = dict(zip(SOAP.elements, potential.references, strict=True))
    for index, frame in enumerate(frames):
        design = designed()(frame)
        rows.append(design.energy)
        targets.append([energies[index] - sum(references[z] for z in frame.numbers)])
        noise.append([NOISE.energy * np.sqrt(len(frame))])
        if forces[index] is not None:
            rows.append(design.forces[: len(frame)].reshape(3 * len(frame), -1))
            targets.append(forces[index].ravel())
            noise.append([NOISE.forces] * (3 * len(frame)))
        if stress[index] is not None:
            for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
                rows.append(design.stress[:, a, b])
                targets.append([stress[index][a, b]])
                noise.append([NOISE.stress])
    return np.concatenate(rows), np.concatenate(targets), np.concatenate(noise)


def test_sparse_process_equals_the_dense_formula():
    """Weights, evidence and deviations of the DTC approximation, as they stand in the textbook."""
    potential, frame = sparse(), crystals(4)[3]
    rows, targets, noise = dense(potential)
    inducing, variance = inducing_of(potential), potential.weights["variance"]
    vectors, kinds = inducing.vectors, inducing.kinds
    prior = pairwise(vectors, kinds, vectors, kinds) + 1e-10 * np.eye(len(kinds))
    total = variance * rows @ np.linalg.solve(prior, rows.T) + np.diag(noise**2)
    solved = np.linalg.solve(total, targets)
    weights = variance * np.linalg.solve(prior, rows.T @ solved)
    assert_close(rows @ potential.weights["alpha"], rows @ weights, 1e-6)
    evidence = -0.5 * targets @ solved - 0.5 * np.linalg.slogdet(total)[1]
    evidence -= 0.5 * len(targets) * np.log(2 * np.pi)
    assert abs(potential.model.record["log_evidence"] - evidence) < 1e-6 * abs(evidence)

    new = designed()(frame)
    found = in_float64(potential.deviations)(frame)
    own, own_kinds = structure_vectors(frame)
    row = new.energy[0]
    explained = np.linalg.solve(prior, row)
    inner = prior / variance + (rows / noise[:, None] ** 2).T @ rows
    value = variance * (pairwise(own, own_kinds, own, own_kinds).sum() - row @ explained)
    value += row @ np.linalg.solve(inner, row) + len(frame) * NOISE.energy**2
    assert abs(found.energy[0] / np.sqrt(value) - 1) < 1e-6
    assert_close(in_float64(partial(energy_deviations, potential))(frame), found.energy, 1e-10)
    row = new.forces[1, 2]
    value = variance * (own_force_variance(frame, 1, 2) - row @ np.linalg.solve(prior, row))
    value += row @ np.linalg.solve(inner, row) + NOISE.forces**2
    assert abs(found.forces[1, 2] / np.sqrt(value) - 1) < 1e-5
    assert not found.forces[2:].any()


def own_force_variance(frame, atom, axis):
    """∂²K(S, S') / ∂r ∂r' at S' = S by differences of kernels between two moved structures."""
    step, total = 1e-3, 0.0
    moved = {}
    for steps, _ in STEPS:
        copy = frame.copy()
        copy.positions[atom, axis] += steps * step
        moved[steps] = structure_vectors(copy)
    for m, c in STEPS:
        for n, d in STEPS:
            total += c * d * pairwise(*moved[m], *moved[n]).sum() / (12 * step) ** 2
    return total


@pytest.mark.parametrize("frame", [waters()[0], crystals()[1]], ids=["molecule", "crystal"])
def test_variances_before_any_data(frame):
    """Against second differences of the structure kernel, and against blocks of the full one."""
    setup = SOAP, KERNEL, sparse().weights["scale"]
    energy = in_float64(partial(prior_energy_variances, *setup))(frame)
    forces = in_float64(partial(prior_force_variances, *setup))(frame)
    own, kinds = structure_vectors(frame)
    assert_close(energy, pairwise(own, kinds, own, kinds).sum()[None], 1e-10)
    assert abs(forces[1, 2] / own_force_variance(frame, 1, 2) - 1) < 1e-6
    scale = float(sparse().weights["scale"])

    def own_block(batch):
        tangents = structure_tangents(SOAP, scale, batch)
        return covariance_block(KERNEL, tangents, tangents)

    block = in_float64(own_block)(frame)
    assert_close(block, block.T, 1e-10)
    assert_close(np.diag(block)[1 : 1 + 3 * len(frame)], forces[: len(frame)].ravel(), 1e-9)


def test_energies_alone_are_a_plain_process_on_summed_kernels():
    frames, energies = waters(5), np.array([0.3, -0.2, 0.5, 0.1, -0.4])
    noise = Noise(energy=0.05)
    process = fit_full_potential(
        frames,
        energies,
        describer=SOAP,
        kernel=KERNEL,
        noise=noise,
        variance=0.7,
        references=[0] * 3,
    )
    scale = float(process.weights["scale"]) / float(sparse().weights["scale"])

    def vectors(frame):
        values, kinds = structure_vectors(frame)
        return values / scale, kinds

    def summed(first, second):
        return np.array([[pairwise(*vectors(a), *vectors(b)).sum() for b in second] for a in first])

    new = waters(3, seed=1)
    total = 0.7 * summed(frames, frames) + 0.05**2 * 3 * np.eye(5)
    across = 0.7 * summed(new, frames)
    expected = across @ np.linalg.solve(total, energies)
    predict = in_float64(process.energy)
    assert_close(np.array([predict(frame)[0] for frame in new]), expected, 1e-9)
    variance = 0.7 * summed(new[:1], new[:1])[0, 0] - across[0] @ np.linalg.solve(total, across[0])
    variance += 3 * 0.05**2
    assert abs(in_float64(process.deviations)(new[0]).energy[0] / np.sqrt(variance) - 1) < 1e-6
    evidence = -0.5 * energies @ np.linalg.solve(total, energies)
    evidence -= 0.5 * np.linalg.slogdet(2 * np.pi * total)[1]
    assert abs(process.model.record["log_evidence"] - evidence) < 1e-9 * abs(evidence)

    # With every environment inducing the sparse one is the same.
    alike = fit_sparse_potential(
        frames, energies, describer=SOAP, kernels=KERNEL, n_inducing=100, noise=noise,
        references=[0] * 3, jitter=1e-13,
    )  # fmt: skip
    assert len(alike.model.kinds) == 15
    same = fit_full_potential(
        frames, energies, describer=SOAP, kernel=KERNEL, noise=noise, references=[0] * 3,
        variance=alike.model.record["variance"],
    )  # fmt: skip
    predict, again = in_float64(alike.energy), in_float64(same.energy)
    for frame in new:
        assert_close(predict(frame), again(frame), 1e-5)
    assert abs(alike.model.record["log_evidence"] - same.model.record["log_evidence"]) < 1e-4


@cache
def consistent():
    """Labels that are those of one smooth function, hence can be met exactly."""
    frames = waters(2, seed=3) + crystals(2)
    found = [predicted(sparse)(frame) for frame in frames]
    forces = [f.forces[: len(frame)] for f, frame in zip(found, frames, strict=True)]
    stress = [
        f.stress[0] if frame.pbc.all() else None for f, frame in zip(found, frames, strict=True)
    ]
    return frames, [f.energy[0] for f in found], forces, stress


def test_labels_are_met_and_certain_where_noise_is_tiny():
    tiny, labels = Noise(energy=1e-5, forces=1e-5, stress=1e-5), consistent()
    process = fit_full_potential(*labels, describer=SOAP, kernel=KERNEL, noise=tiny, variance=1.0)
    predict, deviations = (
        in_float64(f) for f in (process.energy_forces_stress, process.deviations)
    )
    for frame, energy, forces, stress in zip(*labels, strict=True):
        found, certain = predict(frame), deviations(frame)
        assert abs(found.energy[0] - energy) < 1e-3
        assert np.abs(found.forces[: len(frame)] - forces).max() < 1e-3
        assert stress is None or np.abs(found.stress[0] - stress).max() < 1e-3
        assert certain.energy[0] < 1e-4 and certain.forces.max() < 1e-4
    elsewhere = deviations(waters(1, seed=9)[0])
    assert elsewhere.energy[0] > 1e-2 and elsewhere.forces.max() > 1e-2


def test_sparse_deviations_vanish_at_training_structures():
    frames = waters(3)
    fit = partial(fit_sparse_potential, frames, [0.1, -0.2, 0.3], describer=SOAP, kernels=KERNEL)
    potential = fit(noise=Noise(energy=1e-6), references=[0] * 3)
    deviations = in_float64(partial(energy_deviations, potential))
    prior = np.sqrt(potential.weights["variance"]) * 3
    assert all(deviations(frame)[0] < 1e-3 * prior for frame in frames)
    assert deviations(waters(1, seed=9)[0])[0] > 1e-2 * prior
    predict = in_float64(potential.energy)
    found = np.array([predict(frame)[0] for frame in frames])
    assert_close(found, np.array([0.1, -0.2, 0.3]), 1e-3)


@pytest.mark.parametrize("fit", [fit_full_potential, fit_sparse_potential])
def test_deviations_include_the_noise(fit):
    """√(variance + N σ_E²) of energies and √(variance + σ_F²) of forces; none on padding."""
    frames, energies, forces, _ = consistent()
    potential = fit(frames, energies, forces, describer=SOAP, noise=Noise(energy=0.2, forces=0.3))
    assert potential.weights["noise"].tolist() == [0.2, 0.3]
    silent = potential.with_weights(potential.weights | {"noise": np.zeros(2)})
    old = potential.with_weights({k: v for k, v in potential.weights.items() if k != "noise"})
    for frame in waters(1, seed=9) + crystals(1):
        found, bare, earlier = (
            in_float64(one.deviations)(frame) for one in (potential, silent, old)
        )
        n_atoms = len(frame)
        assert_close(found.energy**2, bare.energy**2 + 0.2**2 * n_atoms, 1e-10)
        assert_close(found.forces[:n_atoms] ** 2, bare.forces[:n_atoms] ** 2 + 0.3**2, 1e-10)
        assert not np.any(found.forces[n_atoms:])
        assert_close(earlier.forces, bare.forces, 1e-14)
        assert_close(in_float64(partial(energy_deviations, potential))(frame), found.energy, 1e-12)


def test_more_labels_leave_less_uncertain():
    frames, energies, forces, _ = consistent()
    options = {"describer": SOAP, "kernels": KERNEL, "noise": NOISE, "n_inducing": 6}
    new = waters(1, seed=9)[0]
    few = fit_sparse_potential(frames, energies, **options)
    many = fit_sparse_potential(frames, energies, forces, **options)
    found = [
        in_float64(potential.deviations)(new).forces / np.sqrt(potential.weights["variance"])
        for potential in (few, many)
    ]
    assert found[1][:3].mean() < 0.9 * found[0][:3].mean()


def test_invariance_of_predictions_and_deviations():
    potential, frame, turn = sparse(), waters(1, seed=9)[0], -random_rotation(5)
    order = np.array([2, 0, 1])
    other = frame.copy()
    other.positions = frame.positions @ turn.T + 3.0
    other = other[order]
    here, there = (predicted(sparse)(f) for f in (frame, other))
    assert_close(there.energy, here.energy, 1e-11)
    assert_close(there.forces[:3], (here.forces[:3] @ turn.T)[order], 1e-9)
    deviations = in_float64(potential.deviations)
    here, there = deviations(frame), deviations(other)
    assert_close(there.energy, here.energy, 1e-8)
    total = lambda d: (d.forces[:3] ** 2).sum(1)  # noqa: E731 - variances of one atom, all axes
    assert_close(total(there), total(here)[order], 1e-7)


def test_polynomial_kernels_and_the_choice_among_kernels():
    labels = consistent()
    kernels = [EnvironmentKernel(kind="polynomial", degree=2), EnvironmentKernel(length_scale=1e-3)]
    fit = partial(fit_sparse_potential, *labels, describer=SOAP, n_inducing=4)
    chosen = fit(kernels=kernels)
    assert chosen.model.kernel == kernels[0]  # nothing can be learned with so short a length scale
    alone = fit(kernels=kernels[0], selection="leverage")
    assert len(alone.model.kinds) == len(chosen.model.kinds)
    predict = in_float64(chosen.energy_forces_stress)
    found, frame = predict(waters(1, seed=9)[0]), waters(1, seed=9)[0]
    expected = -slope(lambda f: predict(f).energy[0], frame, 0, 1)
    assert abs(found.forces[0, 1] - expected) < 1e-7 * np.abs(found.forces).max()


def test_other_descriptors():
    """Fingerprints, and triplets in Nyström form, with the whole chain behind them."""
    frames, energies, forces, _ = consistent()
    frames, energies, forces = frames[:2], energies[:2], forces[:2]
    small = HYPERS | {"n_max": 1}
    batch = prepare(frames, 3.0, (1, 8), "float64")
    for describer in (
        descriptor("fingerprint", (1, 8), n_features=16, **small),
        nystrom_descriptor(batch, 6, **small),
    ):
        potential = fit_sparse_potential(frames, energies, forces, describer=describer)
        with jax.enable_x64(True):
            batch = potential.prepare(frames[0], "float64")
            found = jax.device_get(jax.jit(potential.energy_forces_stress)(batch))
        assert np.isfinite(found.energy).all() and np.isfinite(found.forces).all()
        assert abs(found.energy[0] - energies[0]) < 0.1


def test_batches_of_fewer_species_and_the_default_float(dtype):
    potential, frame = sparse(), waters()[0]
    few = prepare(frame, 3.0)
    assert few.elements.tolist() == [1, 8]
    found = potential.energy_forces_stress(few)
    assert found.energy.dtype == found.forces.dtype == dtype
    expected = predicted(sparse)(frame)
    rounding = 1e-5 if dtype == jnp.float32 else 1e-13
    allowed = rounding * (np.abs(potential.weights["alpha"]).sum() + np.abs(expected.energy[0]))
    assert np.abs(found.energy - expected.energy).max() < allowed


@pytest.mark.parametrize("make", [sparse, full], ids=["sparse", "full"])
def test_save_and_load_give_the_same_potential(make, tmp_path):
    potential, frame = make(), crystals()[0]
    potential.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    one, other = (in_float64(p.energy_forces_stress)(frame) for p in (potential, loaded))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.model == potential.model and loaded.model.record == potential.model.record
    with pytest.raises(InputError, match="already holds"):
        potential.save(tmp_path / "model")
    (tmp_path / "model/notes.txt").write_text("of someone")
    potential.save(tmp_path / "model", force=True)
    assert (tmp_path / "model/notes.txt").is_file()


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "model.json").unlink(), "no model"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "missing"),
        (lambda folder: _truncate(folder / "weights.safetensors"), "damaged"),
        (lambda folder: _truncate(folder / "model.json"), "damaged"),
        (lambda folder: (folder / "model.json").write_text('{"format": 3}'), "has format 3"),
    ],
)
def test_damaged_models_are_told(change, words, tmp_path):
    sparse().save(tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path / "model")
    assert "\n" not in str(caught.value)


def _with(index, value, place=0):
    labels = list(labelled())
    changed = list(labels[index])
    changed[place] = value
    labels[index] = changed
    return labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (lambda: (waters(2), [1.0]), r"energies have shape \(1,\)"),
        (lambda: (waters(2), [1.0, np.nan]), "energies hold nan at 1"),
        (lambda: (waters(2), ["a", "b"]), "not numbers"),
        (lambda: (waters(2), [1.0, 2.0], [None]), "1 forces are given for 2"),
        (lambda: _with(2, np.zeros((2, 3))), r"forces of frame 0 have shape \(2, 3\)"),
        (lambda: _with(2, np.full((3, 3), np.inf)), "forces of frame 0 hold inf"),
        (lambda: _with(0, molecule("NH3")), "atomic number 7"),
        (lambda: ([], []), "no structures"),
    ],
)
@pytest.mark.parametrize("fit", [fit_sparse_potential, fit_full_potential])
def test_unusable_labels_are_refused(fit, labels, words):
    with pytest.raises(InputError, match=words) as caught:
        fit(*labels(), describer=SOAP)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"selection": "best"}, "selection='best'"),
        ({"kernels": []}, "kernels="),
        ({"kernels": "linear"}, "invalid kernel 'l'"),
        ({"n_inducing": 0}, "invalid count=0"),
        ({"references": [1.0]}, "references have shape"),
    ],
)
def test_unusable_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        fit_sparse_potential(waters(2), [1.0, 2.0], describer=SOAP, **options)
    with pytest.raises(InputError, match="noise of the forces"):
        Noise(forces=-1.0)
    with pytest.raises(InputError, match="invalid kernel='cubic'"):
        EnvironmentKernel(kind="cubic")
    with pytest.raises(InputError, match="degree"):
        EnvironmentKernel(degree=0)


def test_unknown_species_and_missing_covariance_are_told():
    potential = full()
    with pytest.raises(InputError, match="atomic number 7"):
        potential.prepare(molecule("NH3"))
    with pytest.raises(InputError, match="7"):
        potential.energy(prepare(molecule("NH3"), 3.0))
    model = SparseGaussianProcess(describer=SOAP, kernel=KERNEL, kinds=(0, 1, 2))
    bare = Potential(model, model.init(0))
    with pytest.raises(InputError, match="no covariance"):
        bare.deviations(bare.prepare(waters()[0]))
    mean = KernelModel(describer=SOAP, kernel=KERNEL, kinds=(0, 1, 2))
    assert not Potential(mean, mean.init(0)).has_deviations


def test_structure_kernel_sums_over_equal_species():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(3, 4)), random.normal(size=(2, 4))
    kinds_a, kinds_b = np.array([0, 1, -1]), np.array([1, -1])
    kernel = EnvironmentKernel(kind="polynomial", degree=3)
    with jax.enable_x64(True):
        found = structure_kernel(kernel, *map(jnp.asarray, (a, kinds_a, b, kinds_b)))
    cosine = a[1] @ b[0] / np.linalg.norm(a[1]) / np.linalg.norm(b[0])
    assert abs(float(found) - cosine**3) < 1e-12
