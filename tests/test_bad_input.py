"""Bad input is one clear line: what is wrong, where, and what is accepted."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tripletjax import Basis, InputError, describe, descriptor, prepare
from tripletjax.basis.densities import Mixing
from tripletjax.basis.mixing import fit_mixing
from tripletjax.descriptors.kinds import KINDS, read_by
from tripletjax.invariants.nice import fit_contraction

pytestmark = pytest.mark.once("float32")

WATER = molecule("H2O")
DENSITIES = np.random.default_rng(0).normal(size=(9, 1, 2, 9))
FITTED = fit_contraction(DENSITIES, 4, components=2)


def moved(to) -> Atoms:
    atoms = molecule("H2O")
    atoms.positions[1] = to
    return atoms


FLAT_CELL = Atoms("Si", cell=[[3, 0, 0], [3, 0, 0], [0, 0, 3]], pbc=True)
FRAMES = {
    "empty list": ([], ["no structures"]),
    "not Atoms": ([WATER, "H2O"], ["frame 1", "str", "ASE Atoms"]),
    "nothing": (None, ["NoneType", "ASE Atoms"]),
    "a number": (42, ["int", "ASE Atoms"]),
    "no atoms": ([WATER, Atoms()], ["frame 1", "no atoms"]),
    "NaN": ([WATER, moved(np.nan)], ["atom 1 of frame 1", "nan", "finite"]),
    "infinite": (moved([0, np.inf, 0]), ["atom 1 of frame 0", "inf"]),
    "one spot": (moved(WATER.positions[0]), ["atoms 0 and 1 of frame 0", "coincide"]),
    "one spot by periodicity": (
        Atoms("Si2", positions=[[0, 0, 0], [0, 0, 3]], cell=[3, 3, 3], pbc=True),
        ["atoms 0 and 1", "coincide"],
    ),
    "no cell": (Atoms("Si", pbc=True), ["cell of frame 0", "singular", "pbc=False"]),
    "flat cell": ([WATER, FLAT_CELL], ["cell of frame 1", "singular"]),
    "no cell along z": (Atoms("Si", cell=[3, 3, 0], pbc=[0, 0, 1]), ["singular", "directions z"]),
}
GAUSSIAN = {"radial": "gaussian"}
HYPERS = {
    "kind": ({"kind": "soap"}, ["'soap'", "power_spectrum"]),
    "kind misspelt": ({"kind": "bispectra"}, ["'bispectra'", "did you mean 'bispectrum'?"]),
    "misspelt": ({"cuttoff": 3.0}, ["'cuttoff'", "did you mean 'cutoff'?"]),
    "unheard of": ({"zzz": 3.0}, ["'zzz'", "known are"]),
    "zero cutoff": ({"cutoff": 0.0}, ["cutoff=0.0", "positive"]),
    "negative cutoff": ({"cutoff": -2}, ["cutoff=-2", "positive"]),
    "NaN cutoff": ({"cutoff": float("nan")}, ["cutoff=nan"]),
    "word for cutoff": ({"cutoff": "wide"}, ["cutoff='wide'", "number"]),
    "wide ramp": ({"cutoff": 1.0, "cutoff_width": 2.0}, ["cutoff_width=2.0", "cutoff=1.0"]),
    "cutoff function": ({"cutoff_function": "step"}, ["'step'", "smooth"]),
    "radial": ({"radial": "gtos"}, ["'gtos'", "chebyshev"]),
    "reversed range": (GAUSSIAN | {"radial_range": (3.0, 2.0)}, ["radial_range", "low < high"]),
    "no shells at the centre": (
        {"radial": "logarithmic", "radial_range": (0.0, 3.0)},
        ["radial_range", "low > 0"],
    ),
    "one number": (GAUSSIAN | {"radial_range": (3.0,)}, ["radial_range", "low < high"]),
    "two numbers for scaling": ({"radial_scaling": (1.0, 2.0)}, ["radial_scaling=(1.0, 2.0)"]),
    "negative rate": ({"radial_scaling": (-1, 2, 4)}, ["invalid radial_scaling", "positive"]),
    "one number for scaling": ({"radial_scaling": 2.0}, ["(rate, scale in Å, exponent)"]),
    "wide smearing": ({"gaussian_width": 9.0}, ["gaussian_width=9.0", "cutoff=5.0"]),
    "no functions": ({"n_max": 0}, ["n_max=0", "1 to"]),
    "too many orbitals": ({"n_max": 45}, ["n_max=45", "laplacian"]),
    "negative degree": ({"l_max": -1}, ["l_max=-1", "0 to 20"]),
    "high degree": ({"l_max": 21}, ["l_max=21"]),
    "half degree": ({"l_max": 2.5}, ["l_max=2.5", "whole"]),
    "no tags": ({"tags": 0}, ["tags=0"]),
    "no features": ({"n_features": 0}, ["n_features=0"]),
    "length scale": ({"length_scale": 0}, ["length_scale=0"]),
    "seed": ({"seed": -1}, ["seed=-1"]),
    "chiral": ({"chiral": "yes"}, ["chiral='yes'"]),
    "form": ({"form": "linear"}, ["'linear'", "stretched"]),
    "coupling": ({"coupling": "loose"}, ["'loose'", "minimal, coupled"]),
    "coupling of another kind": ({"coupling": "coupled"}, ["'triplets'", "'fingerprint'"]),
    "tags of another kind": (
        {"kind": "power_spectrum", "tags": 1},
        ["invalid tags=1: kind 'power_spectrum' does not read it", "'fingerprint'"],
    ),
    "order of another kind": (
        {"kind": "power_spectrum", "nu": 7, "chiral": True},
        ["invalid nu=7", "for kind 'correlations'"],
    ),
    "another kind's default": ({"kind": "density", "n_features": 2048}, ["n_features=2048"]),
    "form of another coupling": (
        {"kind": "triplets", "coupling": "coupled", "form": "edge"},
        ["form='edge'", "coupling='minimal'"],
    ),
    "range of another basis": (
        {"radial_range": (1.0, 2.0)},
        ["invalid radial_range=(1.0, 2.0): radial='gto' does not read it", "'gaussian'"],
    ),
    "width of another basis": (
        {"radial": "chebyshev", "gaussian_width": 0.3},
        ["gaussian_width=0.3", "'chebyshev' does not read it", "'gto'"],
    ),
    "order zero": ({"kind": "correlations", "nu": 0}, ["nu=0", "1 to"]),
    "order too high": ({"kind": "correlations", "nu": 21}, ["nu=21", "1 to 20"]),
    "half order": ({"kind": "correlations", "nu": 2.5}, ["nu=2.5", "whole"]),
    "order without contraction": (
        {"kind": "correlations", "nu": 4},
        ["nu=4", "without a contraction", "fit_contraction"],
    ),
    "contraction of another kind": ({"contraction": FITTED}, ["'correlations'", "'fingerprint'"]),
    "no contraction": ({"kind": "correlations", "contraction": 3}, ["contraction=int"]),
    "order beyond the contraction": (
        {"kind": "correlations", "contraction": FITTED, "nu": 5},
        ["nu=5", "with this contraction", "1 to 4"],
    ),
    "contraction of another density": (
        {"kind": "correlations", "contraction": FITTED, "nu": 4, "n_max": 3, "l_max": 2},
        ["2 channels", "6 and l_max=2"],
    ),
    "centre's species twice": (
        {"center_species": True},
        ["center_species=True", "does not read it"],
    ),
    "not a mixing": ({"mixing": [[1.0]]}, ["mixing=list", "Mixing"]),
    "columns of a mixing": ({"mixing": Mixing(np.ones((1, 3)))}, ["(1, 3)", "[channels, 2]"]),
    "degrees of a mixing": (
        {"mixing": Mixing(None, np.ones((2, 1, 4)))},
        ["(2, 1, 4)", "l_max + 1 = 9", "n_max = 4"],
    ),
    "mixing by NaN": ({"mixing": Mixing(np.full((1, 2), np.nan))}, ["mixing.species", "finite"]),
    "dtype": ({"dtype": "float16"}, ["'float16'", "float64"]),
    "centers beyond": ({"centers": [0, 3]}, ["3", "frame 0", "0 to 2"]),
    "negative centers": ({"centers": [-1]}, ["-1", "0 to 2"]),
    "no centers": ({"centers": []}, ["centers=[]"]),
    "centers not whole": ({"centers": [0.5]}, ["centers=[0.5]", "whole"]),
    "one center": ({"centers": 3}, ["centers=3", "whole numbers"]),
    "nested centers": ({"centers": [[0]]}, ["centers=[[0]]", "whole numbers"]),
    "list of kinds": ({"kind": ["density"]}, ["'density'", "expected density, radial_spectrum"]),
    "one species": ({"species": 5}, ["species", "5", "symbols"]),
    "species left out": ({"species": [1]}, ["atom 0 of frame 0", "number 8", "species=[1]"]),
    "a truth as species": ({"species": [True, 8]}, ["unknown species True", "symbols"]),
    "no such species": ({"species": ["H", "Ox"]}, ["'Ox'", "symbols"]),
}


def assert_one_line(raised, words):
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("frames, words", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize(
    "call", [lambda f: describe(f, "density"), prepare], ids=["describe", "prepare"]
)
def test_frames(call, frames, words):
    with pytest.raises(InputError) as raised:
        call(frames)
    assert_one_line(raised, words)


@pytest.mark.parametrize("keywords, words", HYPERS.values(), ids=HYPERS)
def test_hyperparameters(keywords, words):
    with pytest.raises(InputError) as raised:
        describe(WATER, **({"kind": "fingerprint"} | keywords))
    assert_one_line(raised, words)


@pytest.mark.parametrize("cutoff", [0, -1.0, float("inf"), float("nan"), "wide", None])
def test_cutoff_of_prepare(cutoff):
    with pytest.raises(InputError) as raised:
        prepare(WATER, cutoff=cutoff)
    assert_one_line(raised, ["cutoff", "positive number"])


@pytest.mark.parametrize("dtype", ["int32", "float16", "complex64", "floaty"])
def test_dtype_of_prepare(dtype):
    """Positions in whole numbers would be silently wrong."""
    with pytest.raises(InputError) as raised:
        prepare(WATER, dtype=dtype)
    assert_one_line(raised, [dtype, "float32", "float64"])


@pytest.mark.parametrize("elements", [("H",), (200,), (8, 1), (1, 1)])
def test_elements_of_a_descriptor(elements):
    """Ascending atomic numbers, as in Batch.elements: another order would name columns wrongly."""
    with pytest.raises(InputError) as raised:
        descriptor("density", elements)
    assert_one_line(raised, ["elements"])


def test_the_same_errors_from_the_pure_side():
    with pytest.raises(InputError, match="power_spectrum"):
        descriptor("soap", (1,))
    with pytest.raises(InputError, match="n_max"):
        Basis(n_max=0)


def test_an_option_that_is_off_is_no_option():
    """None and False ask for nothing."""
    off = {"tags": None, "chiral": False, "center_species": False, "radial_range": None}
    assert descriptor("power_spectrum", (1,), n_max=1, l_max=1, **off).hypers.tags is None


def test_a_kind_gets_what_it_reads_of_a_shared_set():
    shared = {"cutoff": 3.0, "n_max": 1, "l_max": 1, "n_features": 8, "tags": 2, "nu": 2}
    for kind in KINDS:
        read = read_by(kind, shared)
        record = descriptor(kind, (1,), **read).record()
        assert record.items() >= read.items()
        assert not (shared.keys() - read.keys()) & record.keys()


def test_too_few_tags_are_pointed_out():
    with pytest.warns(UserWarning, match="may not be determined") as caught:
        describe(molecule("C2H6"), "triplet_sum", tags=2, n_max=1, l_max=1, cutoff=3.0)
    assert "\n" not in str(caught[0].message)


def few(count):
    return np.ones((count, 1, 2, 9))


@pytest.mark.parametrize(
    "fit, words",
    [
        (lambda: fit_contraction(few(1), 4, components=9), ["9 components", "n_fit=1", "need"]),
        (lambda: fit_contraction(few(9), 2, components=2), ["nu=2", "3 to 20"]),
        (lambda: fit_contraction(few(9), 4, components=0), ["components=0", "from 1"]),
        (lambda: fit_mixing(DENSITIES, n_radial=3), ["n_radial=3", "2 radial functions"]),
        (lambda: fit_mixing(few(1)[..., :1], n_radial=2), ["n_radial=2", "1 samples"]),
        (lambda: fit_mixing(DENSITIES, n_species=0), ["n_species=0", "from 1"]),
        (lambda: fit_mixing(DENSITIES[0]), ["(1, 2, 9)", "[N, a, n, (l_max + 1)²]"]),
        (lambda: fit_mixing(DENSITIES * np.nan, 1), ["finite"]),
    ],
)
def test_fits_to_too_little(fit, words):
    """Before any work starts."""
    with pytest.raises(InputError) as raised:
        fit()
    assert_one_line(raised, words)
