"""Kernel potentials in files, with descriptors of every make, and the fits that write them."""

import json
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule

from tripletjax import InputError, Potential, descriptor, load, prepare
from tripletjax.basis.densities import Mixing
from tripletjax.data.sets import load_frames
from tripletjax.descriptors.kinds import Kind
from tripletjax.engines.ase import TripletCalculator
from tripletjax.invariants.nice import fit_contraction
from tripletjax.kernels import (
    EnvironmentKernel,
    KernelModel,
    SparseGaussianProcess,
    fit_sparse_potential,
    full,
    nystrom_descriptor,
)
from tripletjax.kernels.describers import content_of
from tripletjax.kernels.storage import FIRST
from tripletjax.numerics import safe_norm, smooth_step
from tripletjax.potentials.storage import load_uncertain
from tripletjax.training import Dataset, read_labels
from tripletjax.training.kernel_config import CUTOFFS, KernelConfig
from tripletjax.training.kernels import fit_kernel_potential, kernel_descriptor
from tripletjax.training.metrics import evaluate

pytestmark = pytest.mark.once("float32")

SIZES = {"cutoff": 3.0, "n_max": 1, "l_max": 1}
SOAP = descriptor("power_spectrum", (1, 8), **SIZES)


def waters(n=2):
    frames = [molecule("H2O") for _ in range(n)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.1, seed=seed)
    return frames


@dataclass(frozen=True)
class Distances:
    """Σ_j f(r_ij) r_ij^n of each species: a descriptor with nothing of this package."""

    cutoff: float = 3.0
    elements: tuple[int, ...] = (1, 8)

    def environment(self, vectors, species, mask, center):
        r = safe_norm(jnp.where(mask[:, None], vectors, 1.0))
        terms = jnp.where(mask, smooth_step(r / self.cutoff), 0)[:, None] * r[
            :, None
        ] ** jnp.arange(1, 3, dtype=r.dtype)
        own = jax.nn.one_hot(species, 2, dtype=r.dtype)
        return jnp.einsum("ka,kn->an", own, terms).ravel()


def inverse_quadratic(a, b):
    return 1 / (1 + jnp.sum((a[:, None] - b) ** 2, -1))


def squares(setup, vectors, species, mask, center):
    return jnp.sum(setup.density(vectors, species, mask) ** 2, (0, 2))


SQUARES = Kind(name="squares", function=squares)


def contracted():
    densities = np.random.default_rng(0).normal(size=(40, 2, 1, 4))
    contraction = fit_contraction(densities, 4, components=3)
    return descriptor("correlations", (1, 8), nu=4, contraction=contraction, **SIZES)


def mixed():
    mixing = Mixing(species=np.array([[0.3, 0.7]]))
    return descriptor("power_spectrum", (1, 8), mixing=mixing, **SIZES)


DESCRIBERS = {
    "power spectrum": lambda: SOAP,
    "contraction": contracted,
    "mixing": mixed,
    "fingerprint": lambda: descriptor("fingerprint", (1, 8), n_features=4, **SIZES),
    "nystrom": lambda: nystrom_descriptor(prepare(waters(), 3.0), 3, **SIZES),
    "kind of one's own": lambda: descriptor(
        Kind(name="squares", function=squares), (1, 8), **SIZES
    ),
    "descriptor of one's own": Distances,
}


@pytest.mark.parametrize("name", DESCRIBERS)
def test_any_descriptor_and_kernel_in_files(name, tmp_path, float32, caplog):
    kernel = inverse_quadratic if "own" in name else EnvironmentKernel(length_scale=2.0)
    model = KernelModel(describer=DESCRIBERS[name](), kernel=kernel, kinds=(0, 1))
    potential = Potential(model, model.init(0), (0.0, 1.0))
    potential.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert not caplog.messages  # it can be made again
    assert loaded.model == model and hash(loaded.model) == hash(model)
    assert loaded.references == potential.references
    for a, b in zip(*(jax.tree.leaves(one.weights) for one in (potential, loaded)), strict=True):
        np.testing.assert_array_equal(a, b)
    if "own" in name:
        batch = potential.prepare(waters(1))
        expected, found = (one.energy_forces_stress(batch) for one in (potential, loaded))
        np.testing.assert_array_equal(found.forces, expected.forces)
        assert abs(np.asarray(found.forces)).max() > 0
    if name == "power spectrum":  # nothing of how the kind is written
        assert "kinds:_" not in (tmp_path / "model/model.json").read_text()


def test_models_are_compared_by_content():
    made = [KernelModel(describer=mixed(), kernel=EnvironmentKernel(), kinds=(0,)) for _ in "ab"]
    assert made[0] == made[1] and hash(made[0]) == hash(made[1])
    others = (
        KernelModel(describer=SOAP, kernel=EnvironmentKernel(), kinds=(0,)),
        KernelModel(describer=mixed(), kernel=EnvironmentKernel(length_scale=2), kinds=(0,)),
        KernelModel(describer=mixed(), kernel=EnvironmentKernel(), kinds=(1,)),
        SparseGaussianProcess(describer=mixed(), kernel=EnvironmentKernel(), kinds=(0,)),
    )
    assert all(made[0] != other for other in others)
    assert content_of([1]) != content_of([2]) and content_of(np.ones(1)) != content_of(np.ones(2))
    with pytest.raises(InputError, match="invalid kernel 3: expected an EnvironmentKernel"):
        KernelModel(describer=SOAP, kernel=3, kinds=(0,))


def test_kernels_are_evaluated_in_float64_unless_asked_otherwise(float32):
    """Without JAX's x64, in ``predict`` and the calculator."""
    frames = waters(4)
    fitted = fit_sparse_potential(frames, [0.1, 0.2, 0.0, 0.3], describer=SOAP, n_inducing=3)
    expected = fitted.predict(frames, "float64")
    found, rough = fitted.predict(frames), fitted.predict(frames, "float32")
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert 0 < abs(rough.energy - expected.energy).max() < 1e-3
    atoms = frames[0].copy()
    atoms.calc = TripletCalculator(fitted, uncertainty=True)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces[0], atol=1e-12)
    deviations = atoms.calc.get_deviations()
    assert deviations["energy_std"] == pytest.approx(float(expected.energy_std[0]), rel=1e-6)


def first_folder(folder, potential, describer):
    """As release 0.1 wrote it."""
    model, weights = potential.model, potential.weights
    arrays = {
        "inducing.vectors": weights["points"],
        "inducing.kinds": np.array(model.kinds, np.int32),
        "inducing.scale": np.asarray(weights["scale"], float),
        "weights": weights["alpha"],
    }
    names = {"tangents": "tangents", "prior": "covariance.prior"}
    names |= {"variance": "covariance.variance", "posterior": "covariance.posterior"}
    if "tangents" in weights:  # a full one had no covariance
        names = {"tangents": "tangents"}
    arrays |= {old: weights[name] for name, old in names.items() if name in weights}
    if describer["kind"] == "nystrom":
        triplets = model.describer.inducing._asdict()
        arrays |= {f"triplets.{name}": array for name, array in triplets.items()}
    record = {
        "describer": describer | {"hypers": asdict(model.describer.hypers), "mixing": None},
        "kernel": asdict(model.kernel),
        "references_eV": list(potential.references),
        "record": dict(model.record),
    }
    folder.mkdir()
    FIRST.write(folder, record, arrays)
    return folder


@pytest.mark.parametrize("name", ["sparse", "full", "nystrom"])
def test_folders_of_release_0_1(name, tmp_path, float32):
    kind = "nystrom" if name == "nystrom" else "power_spectrum"
    make = KernelModel if name == "full" else SparseGaussianProcess
    model = make(
        describer=DESCRIBERS[kind.replace("_", " ")](),
        kernel=EnvironmentKernel(length_scale=2.5),
        kinds=(0, 0, 1),
        record={"noise": {"energy": 0.1}},
    )
    random = np.random.default_rng(0)
    weights = {name: np.asarray(array, float) for name, array in model.init(0).items()}
    if name == "full":
        weights["tangents"] = random.normal(size=weights["points"].shape)
    else:
        square = {name: random.normal(size=(3, 3)) for name in ("prior", "posterior")}
        weights |= square | {"variance": np.asarray(2.0)}
    potential = Potential(model, weights, (-1.0, 0.5))
    old = first_folder(tmp_path / "old", potential, {"kind": kind, "elements": [1, 8]})
    loaded = load(old)
    assert loaded.model == model and loaded.model.record == model.record
    assert loaded.references == potential.references
    assert loaded.weights.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded.weights[name], array)
    assert loaded.has_deviations == ("prior" in weights)
    record = json.loads((old / "model.json").read_text())
    record["references_eV"] = [0.0]
    (old / "model.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="damaged"):
        load(old)


def ethanol(n):
    frames = load_frames("ethanol")[:n]
    return Dataset(frames, read_labels(frames))


@pytest.mark.parametrize("method", ["sparse", "full"])
def test_a_fit_and_its_folder(method, tmp_path, float32):
    """Errors in the folder are those of ``evaluate`` on what is loaded."""
    config = KernelConfig(
        cutoff=3.0,
        n_max=2,
        l_max=1,
        radial="gto",
        method=method,
        n_inducing=6,
        tune=method == "full",
    )
    data, test = ethanol(5), Dataset(*(part[5:] for part in ethanol(7)))
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit/notes.txt").write_text("of someone")
    with pytest.raises(InputError, match="already holds files"):
        fit_kernel_potential(data, tmp_path / "fit", config)
    potential, record = fit_kernel_potential(
        data, tmp_path / "fit", config, test=test, force=True, show=False
    )
    kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    files = "metrics.json", "parity.png", "calibration.png", "settings.yaml", "notes.txt"
    files = *files, "model/model.json"
    assert kept == {f"fit/{name}" for name in (*files, "model/weights.safetensors")}
    loaded = load(tmp_path / "fit")
    assert type(loaded.model).__name__ == {"sparse": "SparseGaussianProcess"}.get(
        method, "FullGaussianProcess"
    )
    written = json.loads((tmp_path / "fit/metrics.json").read_text())
    assert written["structures"] == {"train": 4, "valid": 1, "test": 2}
    assert evaluate(loaded, *test) == written["test"] == record["test"]
    if method == "full":
        assert written["train"]["force_mae_ev_per_A"] < written["test"]["force_mae_ev_per_A"]
    assert written["uncertainty"]["test_forces_ratio"] > 0
    assert written["process"]["kernel"] == potential.model.record["kernel"]
    settings = (tmp_path / "fit/settings.yaml").read_text()
    assert "model: kernel" in settings and f"method: {method}" in settings


def test_many_labels_have_no_deviations(tmp_path, monkeypatch, float32):
    """Their covariance would fill the folder; nothing else is missing."""
    monkeypatch.setattr(full, "WITH_DEVIATIONS", 50)
    config = KernelConfig(cutoff=3.0, n_max=2, l_max=1, method="full", tune=False)
    potential, record = fit_kernel_potential(
        ethanol(4), tmp_path / "fit", config, test=ethanol(2), show=False
    )
    assert not potential.has_deviations and record["uncertainty"] == {}
    assert evaluate(load(tmp_path / "fit"), *ethanol(2)) == record["test"]
    with pytest.raises(InputError, match="has no uncertainty"):
        load_uncertain(tmp_path / "fit")


@pytest.mark.parametrize("periodic", [True, False])
def test_many_labels_of_periodic_structures_are_fitted_by_some(periodic, monkeypatch, float32):
    monkeypatch.setattr("tripletjax.training.kernels.MANY", 100)
    data = ethanol(5)
    for frame in data.frames:
        frame.set_cell(3 * [12.0])
        frame.pbc = periodic
    config = KernelConfig(cutoff=3.0, n_max=2, l_max=1, n_inducing=6, tune=False)
    potential, record = fit_kernel_potential(data, config=config, show=False)
    kind = "SparseGaussianProcess" if periodic else "FullGaussianProcess"
    assert type(potential.model).__name__ == kind
    assert record["process"]["cutoff"] == 3.0


def test_the_cutoff_is_chosen_if_it_is_not_given():
    assert KernelConfig().cutoffs == CUTOFFS and KernelConfig(cutoff=4.5).cutoffs == (4.5,)
    for settings in ({"tune": False}, {"descriptor": "fingerprint"}, {"kernel": "polynomial"}):
        assert KernelConfig(**settings).cutoffs == (5.0,)
    assert kernel_descriptor(KernelConfig(), (1,), 6.0).cutoff == 6.0
    with pytest.raises(InputError, match="invalid cutoff_width"):
        KernelConfig(cutoff_width=4.5)


def test_unusable_settings():
    for settings, words in (
        ({"cutoff": -1}, "invalid cutoff=-1"),
        ({"kernel": "cubic"}, "invalid kernel='cubic'"),
        ({"method": "dense"}, "invalid method='dense'"),
        ({"forces_noise": 0}, "forces_noise"),
        ({"n_induced": 3}, "did you mean 'n_inducing'"),
    ):
        with pytest.raises(InputError, match=words):
            KernelConfig(**settings)
