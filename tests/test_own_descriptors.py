"""Descriptors and kinds of a user go wherever those of the package go; what is none is refused."""

import json
import logging
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule

from tests.systems import HYPERS, SPECIES, Angles, build, methanol, slab
from tripletjax import InputError, describe, descriptor, load
from tripletjax.completeness.auditing import audit
from tripletjax.completeness.inversion import invert
from tripletjax.completeness.jacobians import sensitivities
from tripletjax.completeness.reports import write_audit
from tripletjax.completeness.search import search_pairs
from tripletjax.descriptors import KINDS, Kind
from tripletjax.descriptors.protocol import as_argument
from tripletjax.descriptors.transformer import DescriptorTransformer
from tripletjax.kernels import (
    EnvironmentKernel,
    fit_full_potential,
    fit_sparse_potential,
    structure_kernel,
)

pytestmark = pytest.mark.once("float32")

FRAMES = [methanol(seed) for seed in range(3)]
POWER = {"cutoff": 3.0, "n_max": 2, "l_max": 1}


class Plain:
    """Neither hashable by value nor a pytree: its array is a constant of the programs."""

    def __init__(self, scale):
        self.cutoff, self.elements, self.scale = 3.0, list(SPECIES), np.float32(scale)

    def environment(self, vectors, species, mask, center):
        values = Angles().environment(vectors, species, mask, center)
        return values * jnp.asarray(self.scale, values.dtype)


class Tuple(tuple):
    """A pytree to JAX, whose members must not be traced."""

    cutoff, elements = 3.0, SPECIES

    def environment(self, vectors, species, mask, center):
        return Angles().environment(vectors, species, mask, center) * self[0]


def test_describe_gives_the_rows_of_the_function():
    described = describe(FRAMES, Angles(), dtype="float32")
    one = FRAMES[1].positions - FRAMES[1].positions[2]
    others = np.delete(np.arange(6), 2)
    species = np.searchsorted(SPECIES, FRAMES[1].numbers)
    row = Angles().environment(
        jnp.asarray(one[others], jnp.float32), species[others], np.ones(5, bool), species[2]
    )
    np.testing.assert_allclose(described.values[6 + 2], row, rtol=1e-5, atol=1e-6)
    assert described.names[:2] == ("feature=0", "feature=1")
    assert described.columns["feature"].tolist() == list(range(33))
    assert described.hypers == {"kind": Angles(), "species": list(SPECIES), "cutoff": 3.0}


def test_a_descriptor_describes_as_describe_does():
    soap = descriptor("power_spectrum", SPECIES, **POWER)
    expected = describe(FRAMES, "power_spectrum", species=SPECIES, **POWER)
    for found in (soap.describe(FRAMES), describe(FRAMES, soap)):
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.names == expected.names and found.hypers == expected.hypers
    assert soap.cutoff == 3.0 and soap.kind == "power_spectrum"
    with pytest.raises(InputError, match="atom 0 of frame 0 has atomic number 7"):
        soap.describe(molecule("NH3"))


def test_parameters_of_a_descriptor_are_differentiated_through():
    """It is a pytree: jit and grad take it as it is."""
    chosen = build("fingerprint", n_features=8, l_max=1)
    atoms = jnp.eye(3), jnp.zeros(3, jnp.int32), jnp.ones(3, bool)

    @jax.jit
    def total(chosen):
        return jnp.sum(chosen.environment(*atoms))

    slopes = jax.grad(total)(jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), chosen))
    assert type(slopes) is type(chosen) and slopes.hypers == chosen.hypers
    assert any(leaf.any() for leaf in jax.tree.leaves(slopes.parameters))


@pytest.mark.parametrize("own", [Plain(2.0), Tuple([2.0])], ids=["mutable", "tuple"])
def test_objects_that_jax_cannot_hash_or_would_trace(own):
    twice = describe(FRAMES[0], own).values
    np.testing.assert_allclose(twice, 2 * describe(FRAMES[0], Angles()).values, rtol=1e-5)


def test_one_program_for_all_equal_objects(caplog):
    def compiled(own):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            describe(FRAMES[0], own)
        return sum("Compiling jit(" in r.getMessage() for r in caplog.records)

    assert compiled(Angles(cutoff=2.9)) == 1
    assert compiled(Angles(cutoff=2.9)) == 0
    assert compiled(Angles(cutoff=2.8)) == 1
    assert as_argument(Plain(1.0)) != as_argument(Plain(1.0))


def test_the_transformer():
    transformer = DescriptorTransformer(Angles(), pooling="sum").fit(FRAMES)
    rows = describe(FRAMES, Angles()).values.reshape(3, 6, -1)
    np.testing.assert_allclose(transformer.transform(FRAMES), rows.sum(1), rtol=1e-5)
    assert transformer.get_feature_names_out()[0] == "feature=0"
    with pytest.raises(InputError, match="number 7"):
        transformer.transform(molecule("NH3"))
    with pytest.raises(InputError, match=r"invalid n_max=2: the given Angles has its own"):
        DescriptorTransformer(Angles(), n_max=2).fit(FRAMES)


def test_kernels_and_potentials(tmp_path):
    energies = [0.1, 0.3, 0.2]
    sparse = fit_sparse_potential(FRAMES, energies, describer=Angles(), n_inducing=6)
    full = fit_full_potential(FRAMES, energies, describer=Angles())
    for potential in (sparse, full):
        assert potential.cutoff == 3.0 and potential.species == SPECIES
        found = jax.jit(potential.energy_forces_stress)(potential.prepare(FRAMES[0]))
        assert np.isfinite(found.forces).all() and found.forces.shape == (6, 3)
    rows = describe(FRAMES[0], Angles()).values
    kinds = np.searchsorted(SPECIES, FRAMES[0].numbers)
    assert structure_kernel(EnvironmentKernel(), rows, kinds, rows, kinds) > 6
    require_same_when_loaded(sparse, tmp_path / "model")
    with pytest.raises(InputError, match="type dict is not a descriptor: it has no cutoff"):
        fit_sparse_potential(FRAMES, energies, describer={})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'density' is not an invariant vector"):
        density = descriptor("density", SPECIES, **POWER)
        fit_sparse_potential(FRAMES, energies, describer=density)


def test_the_audit_and_its_report(tmp_path):
    found = audit(FRAMES, Angles(), n_sensitivity=2, n_parted=0)
    assert len(found.atom) == 18 and not len(found.collisions) and len(found.smallest) == 2
    write_audit(found, tmp_path / "out")
    assert "# Audit of 'Angles'" in (tmp_path / "out" / "report.md").read_text()
    record = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert record["settings"]["hypers"] == {"kind": "Angles", "species": [1, 6, 8], "cutoff": 3.0}


def test_the_audit_of_a_descriptor_is_that_of_its_kind():
    options: dict[str, Any] = {"n_sensitivity": 0, "n_parted": 0}
    of_kind = audit(FRAMES, "power_spectrum", species=SPECIES, **POWER, **options)
    found = audit(FRAMES, descriptor("power_spectrum", SPECIES, **POWER), **options)
    np.testing.assert_array_equal(found.pairs.descriptor, of_kind.pairs.descriptor)
    assert found.hypers == of_kind.hypers and found.label == "power_spectrum"


@dataclass(frozen=True)
class Lengths:
    """Power sums of the distances: blind to angles."""

    cutoff: float = 3.0
    elements: tuple[int, ...] = (1, 8)

    def environment(self, vectors, species, mask, center):
        squared = jnp.where(mask, jnp.sum(vectors**2, -1) / self.cutoff**2, 1)
        return jnp.stack([jnp.sum(jnp.maximum(1 - squared, 0) ** p) for p in (3, 4, 5)])


def test_sensitivities_inversion_and_search():
    found = sensitivities(molecule("H2O"), Lengths(), centers=[0])
    assert found.n_directions.tolist() == [3]
    assert found.n_soft(1e-6).tolist() == [2]  # the angle, and one bond against the other
    values = describe(molecule("H2O"), Lengths(), centers=[0], dtype="float64").values[0]
    placed = invert(values, Lengths(), np.zeros(2, int), center=1, max_starts=32)
    bond = molecule("H2O").get_distance(0, 1)
    assert placed.success
    np.testing.assert_allclose(np.linalg.norm(placed.vectors, axis=1), bond, rtol=1e-3)
    assert search_pairs(Lengths(), 3, n_starts=16, n_steps=60).n_found > 0


def norms(setup, vectors, species, mask, center):
    return jnp.sum(setup.density(vectors, species, mask) ** 2, -1).ravel()


NORMS = Kind(name="norms", function=norms, reads=("center_species", "chiral"))


def test_a_kind_of_a_user():
    described = describe(FRAMES, NORMS, **POWER)
    density = describe(FRAMES, "density", **POWER).values.reshape(18, 6, 4)
    np.testing.assert_allclose(described.values, (density**2).sum(-1), rtol=1e-5)
    assert described.names[-1] == "feature=5"
    again = describe(FRAMES, **described.hypers)
    np.testing.assert_array_equal(again.values, described.values)
    split = describe(FRAMES, NORMS, center_species=True, **POWER)
    assert split.names[0] == "center H | feature=0" and split.values.shape == (18, 18)
    found = audit(FRAMES, NORMS, n_sensitivity=2, n_parted=0, **POWER)
    assert found.label == "norms" and len(found.smallest) == 2
    with pytest.raises(InputError, match="invalid tags=3: kind 'norms' does not read it"):
        describe(FRAMES, NORMS, tags=3)
    assert "norms" not in KINDS


def test_a_kind_of_a_user_has_weights_and_rows_of_triplets():
    def drawn(hypers, n_species, channels):
        return np.random.default_rng(hypers.seed).normal(size=(*channels, 5))

    def projected(setup, vectors, species, mask, center):
        isotropic = setup.density(vectors, species, mask)[..., 0]
        weights = jnp.asarray(setup.parameters.weights, isotropic.dtype)
        return jnp.einsum("an,and->d", isotropic, weights)

    kind = Kind(name="projected", function=projected, reads=("seed",), weights=drawn)
    one, other = (describe(FRAMES, kind, seed=seed, **POWER).values for seed in (0, 1))
    assert one.shape == (18, 5) and np.abs(one - other).max() > 0.1

    def sides(setup, vectors, species, mask, center):
        return jnp.matmul(vectors, vectors.T)[..., None]

    columns = lambda *_: [{"quantity": "dot product / Å²"}]  # noqa: E731
    kind = Kind(name="sides", function=sides, columns=columns, per_triplet=True)
    found = describe(slab(), kind, cutoff=HYPERS["cutoff"])
    assert found.values.shape == (60, 1) and found.neighbors is not None
    assert found.neighbors.shape == (60, 2)
    assert found.names == ("dot product / Å²",)
    with pytest.raises(InputError, match="'sides' is not an invariant vector"):
        audit(FRAMES, kind)


def test_a_kind_of_a_user_with_wrong_columns():
    columns = lambda *_: [{"parity": 1}]  # noqa: E731
    with pytest.raises(
        InputError, match=r"norms have shape \(6,\) .* but there are 1 column names"
    ):
        describe(FRAMES, Kind(name="norms", function=norms, columns=columns), **POWER)
    columns = lambda *_: [{"colour": "red"}]  # noqa: E731
    with pytest.raises(InputError, match="unknown label 'colour' of columns"):
        describe(FRAMES, Kind(name="norms", function=norms, columns=columns), **POWER)


def test_potentials_of_a_kind_of_a_user_are_saved(tmp_path):
    own = descriptor(NORMS, SPECIES, **POWER)
    potential = fit_sparse_potential(FRAMES, [0.1, 0.3, 0.2], describer=own, n_inducing=4)
    require_same_when_loaded(potential, tmp_path / "model")


def require_same_when_loaded(potential, folder):
    potential.save(folder)
    batch = potential.prepare(FRAMES[0])
    assert (
        load(folder).energy_forces_stress(batch).energy
        == potential.energy_forces_stress(batch).energy
    )


def made(environment, cutoff: Any = 3.0, elements: Any = SPECIES):
    return type("Own", (), {"cutoff": cutoff, "elements": elements, "environment": environment})()


def with_static(function):
    return made(staticmethod(function))


BAD = {
    "a dict": ({"cutoff": 3.0}, ["unknown kind {'cutoff': 3.0}", "cutoff, elements"]),
    "a member is missing": (
        type("Own", (), {"cutoff": 3.0})(),
        ["object of type Own is not a descriptor: it has no elements, environment"],
    ),
    "a class": (Angles, ["Angles is a class", "Angles()"]),
    "cutoff": (made(len, cutoff=-3.0), ["invalid cutoff of Own=-3.0", "positive number (Å)"]),
    "elements": (made(len, elements=(8, 1)), ["invalid elements of Own=(8, 1)", "ascending"]),
    "no elements": (made(len, elements=None), ["invalid elements of Own=None"]),
    "no function": (made(3), ["environment of Own is of type int"]),
    "arguments": (with_static(lambda vectors: vectors), ["environment of Own failed", "1 pos"]),
    "NumPy": (
        with_static(lambda v, s, m, c: np.linalg.norm(v, axis=1)),
        ["environment of Own failed", "JAX arrays"],
    ),
    "a tuple": (with_static(lambda v, s, m, c: (v,)), ["returns a tuple"]),
    "rows of matrices": (
        with_static(lambda v, s, m, c: v.T @ v),
        ["rows of Own have shape (3, 3)", "expected [D]"],
    ),
    "a column a neighbour": (
        with_static(lambda v, s, m, c: v[:, 0]),
        ["2 columns for 2 neighbours and 3 for 3"],
    ),
}


@pytest.mark.parametrize("thing, words", BAD.values(), ids=BAD)
@pytest.mark.parametrize("use", [describe, sensitivities, audit])
def test_what_is_no_descriptor_is_named_in_one_line(use, thing, words):
    with pytest.raises(InputError) as raised:
        use(FRAMES, thing)
    message = str(raised.value)
    assert "\n" not in message and all(word in message for word in words)


@pytest.mark.parametrize(
    "option", [{"cutoff": 4.0}, {"species": [1, 6]}, {"n_max": 2}, {"tags": 3}], ids=str
)
def test_options_beside_a_descriptor_are_refused(option):
    (name,) = option
    for own in (Angles(), descriptor("power_spectrum", SPECIES, **POWER)):
        with pytest.raises(InputError, match=f"invalid {name}=.* has its own; leave it out"):
            describe(FRAMES, own, **option)
