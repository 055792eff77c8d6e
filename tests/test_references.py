"""Reference energies that are given, or those of isolated atoms."""

import json
import logging
from dataclasses import asdict

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tripletjax import InputError
from tripletjax.training import Labels, TrainConfig, read_config
from tripletjax.training.parts import Dataset
from tripletjax.training.references import as_references, reference_energies
from tripletjax.training.starts import starting_point

pytestmark = pytest.mark.once("float32")

ENERGIES = {"H": -13.6, "O": -432.0}


def molecules() -> list[Atoms]:
    return [molecule(name) for name in ("H2O", "H2", "H2O2", "O2")]


def energies(frames) -> np.ndarray:
    """Isolated atoms, and 2 eV for every atom of a molecule."""
    sums = [sum(ENERGIES[s] for s in frame.symbols) for frame in frames]
    return np.array(sums) - [2.0 * len(frame) * (len(frame) > 1) for frame in frames]


@pytest.mark.parametrize(
    "value",
    ["H=-13.6,O=-432", " O = -432 , H=-13.6 ", {"H": -13.6, "O": -432}, {8: -432.0, 1: -13.6},
     {"O": np.float32(-432), np.int64(1): -13.6}],
)  # fmt: skip
def test_they_are_given_as_text_or_by_element(value):
    config = TrainConfig(reference_energies=value)
    assert config.reference_energies == {"H": -13.6, "O": -432.0}
    assert json.loads(json.dumps(asdict(config)))["reference_energies"] == {"H": -13.6, "O": -432}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("h=-1", "unknown element 'h'"),
        ({"H": -1, 1: -2}, "H occurs twice"),
        ("H", "reference energy of H=''"),
        ("atoms", "unknown element 'atoms'"),
        ({"H": np.nan}, "reference energy of H=nan"),
        ({}, "reference_energies={}"),
        (3.0, "'isolated'"),
    ],
)
def test_what_is_no_reference_is_refused(value, words):
    with pytest.raises(InputError, match=words):
        as_references(value)


def test_given_ones_are_used_in_place_of_least_squares(caplog):
    caplog.set_level(logging.INFO)
    frames = molecules()
    labels = [Labels(energy, None, None) for energy in energies(frames)]
    config = TrainConfig(reference_energies=ENERGIES)
    assert starting_point(Dataset(frames, labels), config).references == (-13.6, -432.0)
    assert "H -13.6, O -432" in caplog.text and not _warnings(caplog)
    fitted = starting_point(Dataset(frames, labels), TrainConfig()).references
    assert fitted == pytest.approx((-15.6, -434.0))  # the atoms of molecules


def test_those_of_isolated_atoms():
    frames = [*molecules(), Atoms("H"), Atoms("O", cell=[12, 12, 12], pbc=True)]
    found = reference_energies(frames, energies(frames), [1, 8], "isolated")
    np.testing.assert_allclose(found, [-13.6, -432.0])
    with pytest.raises(InputError, match="no reference energy of O in the isolated atoms"):
        reference_energies(frames[:-1], energies(frames)[:-1], [1, 8], "isolated")
    two = [*frames, Atoms("H")]
    with pytest.raises(InputError, match="isolated H atoms have different energies"):
        reference_energies(two, np.append(energies(frames), -12.0), [1, 8], "isolated")


def test_a_species_without_one_is_named():
    with pytest.raises(InputError, match="no reference energy of O in reference_energies"):
        reference_energies(molecules(), energies(molecules()), [1, 8], {"H": -13.6})


def test_references_of_another_unit_are_noticed(caplog):
    hartree = {symbol: energy / 27.2 for symbol, energy in ENERGIES.items()}
    reference_energies(molecules(), energies(molecules()), [1, 8], hartree)
    assert "units" in _warnings(caplog)[0]


def test_settings_of_a_file_may_be_written_as_numbers_usually_are(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "learning_rate: 1e-2\nhuber: 2.E-3\nema: .5\nmax_epochs: 3\n"
        "reference_energies: {H: -13.6, No: -1e2, Y: 4}\n"
    )
    config = TrainConfig().with_settings(read_config(path))
    assert (config.learning_rate, config.huber, config.ema, config.max_epochs) == (
        0.01,
        2e-3,
        0.5,
        3,
    )
    assert config.reference_energies == {"H": -13.6, "Y": 4.0, "No": -100.0}


@pytest.mark.parametrize("kind", [np.int64, np.array, int])
def test_settings_of_numpy_can_be_written(kind):
    config = TrainConfig(max_epochs=kind(3), seed=kind(2), max_minutes=kind(5), ema=np.float32(0.5))
    assert json.loads(json.dumps(asdict(config)))["max_epochs"] == 3
    with pytest.raises(
        InputError, match=r"invalid batch_size=.*0.*: expected a whole number from 1"
    ):
        TrainConfig(batch_size=kind(0))


def _warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
