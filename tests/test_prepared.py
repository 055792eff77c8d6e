"""A batch is evaluated only by what it was prepared for; also under jit."""

from functools import cache

import jax
import numpy as np
import pytest
from ase.build import molecule

from tests.systems import quick_jit
from tripletjax import InputError, descriptor, prepare
from tripletjax.kernels import nystrom_descriptor
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.kernels.model import KernelModel
from tripletjax.potentials.base import Potential
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import untrained
from tripletjax.properties.tensor_model import untrained_tensor

pytestmark = pytest.mark.once("float32")

WATER = molecule("H2O")
CUTOFF = 3.0
SIZES = Architecture(
    cutoff=CUTOFF, n_radial=3, l_max=1, channels=2, messages=0, tags=4, units=4, width=4
)
SOAP = {"cutoff": CUTOFF, "n_max": 1, "l_max": 1}


@cache
def evaluators():
    """name -> (pure function of a batch, whether the elements must be the same)."""
    known = (1, 8)
    batch = prepare(WATER, CUTOFF)
    few = nystrom_descriptor(batch, 2, **SOAP)
    soap = descriptor("power_spectrum", known, **SOAP)
    model = KernelModel(describer=soap, kernel=EnvironmentKernel(kind="polynomial"), kinds=(0,))
    kernels = Potential(model, model.init(0))
    return {
        "descriptor": (soap.batch, True),
        "kernels": (kernels.energy_forces_stress, False),
        "nystrom": (few.batch, True),
        "energy": (untrained(known, SIZES).energy, False),
        "forces": (untrained(known, SIZES).energy_forces_stress, False),
        "tensors": (untrained_tensor("dipole", known, SIZES).tensors, False),
    }


NAMES = ("descriptor", "kernels", "nystrom", "energy", "forces", "tensors")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_smaller_cutoff_is_refused(name, change):
    with pytest.raises(InputError, match=r"cutoff=2\.5 Å.* is 3 Å; prepare it with cutoff=3 or"):
        change(evaluators()[name][0])(prepare(WATER, 2.5))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_other_elements_are_refused(name, change):
    function, exact = evaluators()[name]
    frames = [molecule("CO2")] + ([molecule("H2")] if exact else [])
    with pytest.raises(InputError, match=r"species=\[(1, )?6, 8\], but .* \[1, 8\]"):
        change(function)(prepare(frames, CUTOFF))


def test_a_larger_cutoff_and_fewer_elements_give_the_same():
    """Of a potential; a descriptor takes the larger cutoff."""
    energy = quick_jit(evaluators()["energy"][0])
    hydrogen = molecule("H2")
    values = [
        energy(prepare(hydrogen, cutoff, species))
        for cutoff, species in ((CUTOFF, (1, 8)), (CUTOFF, None), (4.0, None))
    ]
    np.testing.assert_allclose(values[1:], [values[0]] * 2, rtol=1e-6)
    rows = quick_jit(evaluators()["descriptor"][0])
    near, far = (rows(prepare(WATER, cutoff))[:3] for cutoff in (CUTOFF, 6.0))
    np.testing.assert_allclose(near, far, rtol=1e-5, atol=1e-6)


def test_a_descriptor_refuses_fewer_elements():
    """Their indices would mean other channels."""
    with pytest.raises(InputError, match="prepare it with these species"):
        evaluators()["descriptor"][0](prepare(molecule("O2"), CUTOFF))
    assert evaluators()["descriptor"][0](prepare(molecule("O2"), CUTOFF, (1, 8))).shape[0] == 4


def test_a_batch_made_by_hand_is_not_checked():
    batch = prepare(WATER, 2.0)._replace(prepared=None)
    assert np.isfinite(evaluators()["descriptor"][0](batch)).all()
