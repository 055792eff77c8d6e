"""Spherical expansion and power spectrum against featomic, with position and strain gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from tripletjax import describe, descriptor, prepare
from tripletjax.descriptors.conventions import density_blocks, power_spectrum_blocks

pytest.importorskip("featomic")
from featomic import SoapPowerSpectrum, SphericalExpansion
from featomic import basis as featomic_basis
from featomic import cutoff as featomic_cutoff
from featomic import density as featomic_density
from featomic.splines import SoapSpliner

CUTOFF, WIDTH = 4.0, 0.5


def water_box():
    """Four molecules in a small periodic cell, turned and shifted at random."""
    random = np.random.default_rng(3)
    box = Atoms(cell=[6.3, 6.4, 3.2], pbc=True)
    for corner in np.ndindex(2, 2, 1):
        water = molecule("H2O")
        water.euler_rotate(*random.uniform(0, 360, 3))
        water.translate(3.2 * np.array(corner) + random.uniform(-0.2, 0.2, 3))
        box += water
    return box


def silicon():
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.05, seed=1)
    return crystal


FRAMES = {"silicon": silicon(), "water": water_box(), "ethanol": molecule("CH3CH2OH")}
BASES = {
    "gto": {"n_max": 4, "l_max": 5, "gaussian_width": 0.3},
    "gto, many": {"n_max": 7, "l_max": 3, "gaussian_width": 0.4},
    "laplacian, smeared": {
        "radial": "laplacian", "n_max": 4, "l_max": 4, "gaussian_width": 0.3,
    },
    "laplacian, delta": {"radial": "laplacian", "n_max": 4, "l_max": 4},
}  # fmt: skip


# Rate, scale and exponent of the radial scaling, and width of the cutoff function.
DECAYS = {
    "wide cutoff": (None, CUTOFF),
    "scaled": ((1.0, 2.0, 7), WIDTH),
    "scaled slowly": ((0.3, 1.7, 1), WIDTH),
    "scaled, wide cutoff": ((3.0, 2.5, 4), CUTOFF),
}


def hypers_of(basis, scaling=None, width=WIDTH):
    return {"cutoff": CUTOFF, "cutoff_width": width, "radial_scaling": scaling, **BASES[basis]}


def featomic_hypers(basis, scaling=None, cutoff_width=WIDTH, center_weight=0.0):
    hypers = BASES[basis]
    width = hypers.get("gaussian_width")
    given: dict = {"center_atom_weight": center_weight}
    if scaling is not None:
        rate, scale, exponent = scaling
        given["scaling"] = featomic_density.Willatt2018(rate=rate, scale=scale, exponent=exponent)
    if width is None:
        density = featomic_density.DiracDelta(**given)
    else:
        density = featomic_density.Gaussian(width=width, **given)
    cutoff = featomic_cutoff.Cutoff(
        radius=CUTOFF, smoothing=featomic_cutoff.ShiftedCosine(width=cutoff_width)
    )
    if hypers.get("radial") == "laplacian":
        # featomic offers these functions only through its splines; ask for more than is tested.
        by_angular = {
            l: featomic_basis.SphericalBessel(
                angular_channel=l, max_radial=hypers["n_max"] - 1, radius=CUTOFF
            )
            for l in range(hypers["l_max"] + 1)
        }
        expansion = featomic_basis.Explicit(by_angular=by_angular, spline_accuracy=1e-11)
        return SoapSpliner(cutoff=cutoff, density=density, basis=expansion).get_hypers()
    expansion = featomic_basis.TensorProduct(
        max_angular=hypers["l_max"],
        radial=featomic_basis.Gto(max_radial=hypers["n_max"] - 1, radius=CUTOFF),
        spline_accuracy=None,
    )
    return {"cutoff": cutoff, "density": density, "basis": expansion}


def relative(ours, theirs, scale):
    return np.abs(ours - theirs).max(initial=0) / scale


CASES = [(system, basis, (None, WIDTH)) for system in FRAMES for basis in BASES]
CASES += [("water", "gto", decay) for decay in DECAYS.values()]
SPECTRA = [case for case in CASES if case[1].startswith("gto")]
CASES += [("water", "laplacian, delta", DECAYS["scaled, wide cutoff"])]


@pytest.mark.parametrize("system, basis, decay", CASES)
def test_spherical_expansion(system, basis, decay):
    frame, hypers = FRAMES[system], hypers_of(basis, *decay)
    elements = np.unique(frame.numbers).tolist()
    ours = density_blocks(
        describe(frame, "density", **hypers).values, len(elements), hypers["n_max"]
    )
    theirs = SphericalExpansion(**featomic_hypers(basis, *decay)).compute(frame)
    scale = max(np.abs(block).max() for block in ours.values())
    for key, block in theirs.items():
        place = int(key["o3_lambda"]), elements.index(int(key["neighbor_type"]))
        rows = np.asarray(block.samples["atom"])
        assert relative(ours[place][rows], np.asarray(block.values), scale) < 1e-8


@pytest.mark.parametrize("system, basis, decay", SPECTRA)
def test_power_spectrum(system, basis, decay):
    frame, hypers = FRAMES[system], hypers_of(basis, *decay)
    elements = np.unique(frame.numbers).tolist()
    values = describe(frame, "power_spectrum", **hypers).values
    ours = power_spectrum_blocks(values, len(elements), hypers["n_max"])
    theirs = SoapPowerSpectrum(**featomic_hypers(basis, *decay)).compute(frame)
    for key, block in theirs.items():
        a, b = (elements.index(int(key[name])) for name in ("neighbor_1_type", "neighbor_2_type"))
        rows = np.asarray(block.samples["atom"])
        expected = np.asarray(block.values).reshape(len(rows), *ours[a, b].shape[1:])
        assert relative(ours[a, b][rows], expected, np.abs(values).max()) < 1e-8


@pytest.mark.parametrize("weight", [0.3, 1.0])
@pytest.mark.parametrize("system, basis, decay", SPECTRA)
def test_power_spectrum_with_the_central_atom(system, basis, decay, weight):
    frame, hypers = FRAMES[system], hypers_of(basis, *decay)
    elements = np.unique(frame.numbers).tolist()
    values = describe(frame, "power_spectrum", center_weight=weight, **hypers).values
    ours = power_spectrum_blocks(values, len(elements), hypers["n_max"])
    given = featomic_hypers(basis, *decay, center_weight=weight)
    for key, block in SoapPowerSpectrum(**given).compute(frame).items():
        a, b = (elements.index(int(key[name])) for name in ("neighbor_1_type", "neighbor_2_type"))
        rows = np.asarray(block.samples["atom"])
        expected = np.asarray(block.values).reshape(len(rows), *ours[a, b].shape[1:])
        assert relative(ours[a, b][rows], expected, np.abs(values).max()) < 1e-8


@pytest.mark.parametrize("basis", ["gto", "laplacian, smeared"])
@pytest.mark.parametrize("system", FRAMES)
def test_gradients_of_the_expansion(system, basis):
    """d c / d positions and d c / d strain, by forward-mode autodiff through a Batch."""
    frame, hypers = FRAMES[system], hypers_of(basis)
    elements = np.unique(frame.numbers).tolist()
    batch = prepare(frame, cutoff=CUTOFF)
    chosen = descriptor("density", tuple(elements), **hypers)
    shape = (-1, len(elements), hypers["n_max"], (hypers["l_max"] + 1) ** 2)

    def moved(positions):
        return chosen.batch(batch._replace(positions=positions)).reshape(shape)

    def strained(strain):
        deform = jnp.eye(3) + strain
        return chosen.batch(
            batch._replace(positions=batch.positions @ deform, cells=batch.cells @ deform)
        ).reshape(shape)

    by_position = np.asarray(jax.jit(jax.jacfwd(moved))(jnp.asarray(batch.positions)))
    by_strain = np.asarray(jax.jit(jax.jacfwd(strained))(jnp.zeros((3, 3))))
    gradients = ["positions", "strain"] if frame.pbc.all() else ["positions"]
    theirs = SphericalExpansion(**featomic_hypers(basis)).compute(frame, gradients=gradients)
    for key, block in theirs.items():
        l, a = int(key["o3_lambda"]), elements.index(int(key["neighbor_type"]))
        part = slice(l * l, (l + 1) ** 2)
        rows = np.asarray(block.samples["atom"])
        positions = block.gradient("positions")
        sample, atom = (np.asarray(positions.samples[name]) for name in ("sample", "atom"))
        # [sample, xyz, m, n] there, [row, n, m, atom, xyz] here
        ours = by_position[rows[sample], a, :, part, atom].transpose(0, 3, 2, 1)
        assert relative(ours, np.asarray(positions.values), np.abs(by_position).max()) < 1e-7
        if "strain" in gradients:
            strain = block.gradient("strain")
            sample = np.asarray(strain.samples["sample"])
            ours = by_strain[rows[sample], a, :, part].transpose(0, 3, 4, 2, 1)
            assert relative(ours, np.asarray(strain.values), np.abs(by_strain).max()) < 1e-7
