"""A fit and a simulation with x64 on, which the other tests of both leave off."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.md_runs import QUICK, rows, run
from tests.test_fitting import FAST, PAIRS, labelled
from tests.test_training import clusters
from tripletjax import Potential, fit, load
from tripletjax.md.files import FINAL, THERMO, TRAJECTORY

pytestmark = pytest.mark.once("float64")


def test_a_fit(tmp_path):
    """Finds the weights, computes with them in float64, and goes on with equal bits."""
    truth = Potential(PAIRS, {"wide": jnp.asarray(0.8), "narrow": jnp.asarray(1.9)}, (-1.0, -5.0))
    data, options = labelled(clusters(8), truth), {"model": PAIRS, "show": False}
    config = FAST | {"max_epochs": 300, "reference_energies": {"He": -1.0, "Ar": -5.0}}
    found = fit(data, tmp_path / "fit", config=config, **options)
    for name, value in truth.weights.items():
        np.testing.assert_allclose(found.weights[name], value, rtol=0.02)
    assert found.energy(found.prepare(data)).dtype == np.float64
    again = load(tmp_path / "fit")
    for here, there in zip(*map(jax.tree.leaves, (found.weights, again.weights)), strict=True):
        assert here.dtype == there.dtype and np.array_equal(here, there)


def test_a_simulation(tmp_path):
    """In either precision it is the one with x64 off."""
    for dtype in ("float64", "float32"):
        on, off = tmp_path / f"{dtype}-on", tmp_path / f"{dtype}-off"
        run(on, QUICK, dtype=dtype)
        with jax.enable_x64(False):
            run(off, QUICK, dtype=dtype)
        for name in (THERMO, TRAJECTORY, FINAL):
            assert (on / name).read_bytes() == (off / name).read_bytes()
    conserved = [float(row["conserved_eV"]) for row in rows(tmp_path / "float64-on")]
    assert np.ptp(conserved) < 1e-3 * abs(float(rows(tmp_path / "float64-on")[0]["kinetic_eV"]))
    longer = replace(QUICK, steps=30)
    run(tmp_path / "whole", longer)
    run(tmp_path / "float64-off", longer, resume=True)
    for name in (THERMO, TRAJECTORY, FINAL):
        assert (tmp_path / "whole" / name).read_bytes() == (
            tmp_path / "float64-off" / name
        ).read_bytes()
