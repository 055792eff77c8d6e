"""One check of whole numbers everywhere: NumPy's are taken and become Python's, others refused."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from tripletjax import InputError, descriptor
from tripletjax.basis.mixing import fit_mixing
from tripletjax.completeness.alignment import environment_distance
from tripletjax.completeness.families.chains import k_chain
from tripletjax.completeness.families.environments import rotated_polygon
from tripletjax.completeness.families.polyhedra import selected
from tripletjax.completeness.families.rings import coprime_rings, sites
from tripletjax.invariants.nice import fit_contraction
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.md.config import MDConfig
from tripletjax.properties.network import check_degrees

pytestmark = pytest.mark.once("float32")

DENSITIES = np.random.default_rng(0).normal(size=(9, 1, 2, 9))
ONE = np.eye(3)[:1], [1], np.eye(3)[:1], [1]

# Each takes a whole number and returns what can be compared.
TAKERS = {
    "elements": lambda n: descriptor("density", (n,), n_max=1, l_max=1).record(),
    "nu": lambda n: fit_contraction(DENSITIES, n, components=2).nu,
    "n_fit": lambda n: fit_contraction(DENSITIES, 3, components=2, n_fit=n).nu,
    "components": lambda n: fit_contraction(DENSITIES, 3, components=n).weights[0][1, 0].shape,
    "n_radial": lambda n: fit_mixing(np.tile(DENSITIES, (1, 1, 2, 1)), n_radial=n).radial.shape,
    "degree of a kernel": lambda n: asdict(EnvironmentKernel(kind="polynomial", degree=n)),
    "degrees of tensors": lambda n: check_degrees((n,)),
    "steps and seed": lambda n: asdict(MDConfig(steps=n, log_every=n, write_every=n, seed=n)),
    "max_cells": lambda n: environment_distance(*ONE, max_cells=n).value,
    "k": lambda n: k_chain(n).first.tolist(),
    "n": lambda n: rotated_polygon(n).first.tolist(),
    "p": lambda n: sites("p", [n], 5).tolist(),
    "vertices": lambda n: selected("vertices", ["cube"], [1.0], [[n]]).tolist(),
}


@pytest.mark.parametrize("name", TAKERS)
def test_they_are_taken_and_become_pythons(name):
    taker = TAKERS[name]
    plain = json.dumps(taker(3))
    for kind in (np.int64, np.uint8, np.array):
        assert json.dumps(taker(kind(3))) == plain


OPTIONAL = ("n_fit", "n_radial")  # None asks for the default
REFUSED = [(name, value) for name in TAKERS for value in (True, 3.0, "3", None)]
REFUSED = [case for case in REFUSED if not (case[0] in OPTIONAL and case[1] is None)]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_is_none_is_refused(name, value):
    with pytest.raises(InputError, match=r"invalid \w+=.*: expected a whole number"):
        TAKERS[name](value)


def test_rings_name_the_number():
    with pytest.raises(InputError, match="invalid q=2: expected a whole number from 3"):
        coprime_rings(3, 2)
