"""Labels under any name: what is found, what is said, and what is refused."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from tripletjax import InputError
from tripletjax.properties.fitting import read_tensors
from tripletjax.training import read_labels
from tripletjax.training.names import ENERGY, FORCES, STRESS, VIRIAL, looks_like

pytestmark = pytest.mark.once("float32")

FORCES_OF = np.arange(12.0).reshape(4, 3)
STRESS_OF = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]])


def crystal(info=None, arrays=None, results=None) -> Atoms:
    frame = bulk("Cu", cubic=True)
    frame.info |= info or {}
    for name, values in (arrays or {}).items():
        frame.set_array(name, np.asarray(values))
    if results:
        frame.calc = SinglePointCalculator(frame, **results)
    return frame


def atom(**info) -> Atoms:
    return Atoms("Cu", info=info)


def test_names_that_look_like_a_label():
    named = {
        ENERGY: ["REF_energy", "dft_energy", "TotEnergy", "energy_pbe", "free_energy", "Energy"],
        FORCES: ["force", "forces", "REF_forces", "dft-force", "forcesDFT"],
        STRESS: ["REF_stress", "stresses", "virial_stress"],
        VIRIAL: ["virial", "virials", "dft_virial"],
    }
    for kind, names in named.items():
        for name in names:
            assert [k for k in named if looks_like(name, k)] == [kind], name
    for name in ("forces_weight", "energy_std", "max_force", "formation_energy", "config_type",
                 "energies", "pred_energy", "energy_per_atom"):  # fmt: skip
        assert not any(looks_like(name, kind) for kind in named), name


@pytest.mark.parametrize("prefix", ["REF_", "dft_", ""])
@pytest.mark.parametrize("ending", ["s", ""])
def test_one_reading_is_taken_and_named(prefix, ending, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    info = {f"{prefix}energy": -3.0, f"{prefix}virial{ending}": -STRESS_OF, "energy_weight": 2.0}
    write(tmp_path / "a.xyz", crystal(info, {f"{prefix}force{ending}": FORCES_OF}))
    frames = read(tmp_path / "a.xyz", index=":")
    label = read_labels(frames, source="a.xyz")[0]
    assert label.energy == -3.0 and label.forces is not None and label.stress is not None
    np.testing.assert_allclose(label.forces, FORCES_OF)
    np.testing.assert_allclose(label.stress, STRESS_OF / frames[0].get_volume())
    expected = (
        f"labels of a.xyz, 1 frame: energy of 1 ({prefix}energy), "
        f"forces of 1 ({prefix}force{ending}), stress of 1 (-{prefix}virial{ending}/volume)"
    )
    assert caplog.messages == [expected]


@pytest.mark.parametrize("value", [-3, np.float32(-3), [-3.0], np.array(-3)])
@pytest.mark.parametrize("name", ["energy", "dft_energy"])
def test_energies_of_any_type_of_number(name, value):
    assert read_labels([crystal({name: value})])[0].energy == -3.0


def test_forces_in_another_place():
    frame = crystal({"energy": -3.0, "forces": FORCES_OF.tolist()})
    label = read_labels([frame])[0]
    np.testing.assert_allclose(label.forces, FORCES_OF)


@pytest.mark.parametrize("order", ["matrix", "nine", "six"])
def test_virials_by_key_have_six_or_nine_numbers(order):
    virial = {
        "matrix": STRESS_OF,
        "nine": STRESS_OF.ravel(),
        "six": STRESS_OF[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
    }[order]
    frame = crystal({"w": virial}, results={"energy": 1.0, "stress": np.zeros(6)})
    label = read_labels([frame], virial_key="w")[0]
    np.testing.assert_allclose(label.stress, -STRESS_OF / frame.get_volume())
    with pytest.raises(InputError, match="stress_key and virial_key"):
        read_labels([frame], stress_key="stress", virial_key="w")


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("prefix", ["", "REF_"])
def test_labels_that_some_structures_lack_are_no_labels_of_these(prefix, keys, caplog):
    caplog.set_level(logging.INFO)
    names = [f"{prefix}energy", f"{prefix}forces", f"{prefix}stress"]
    whole = crystal({names[0]: -3.0, names[2]: STRESS_OF}, {names[1]: FORCES_OF})
    frames = [atom(**{names[0]: -1.0}), whole, crystal({names[0]: -2.0})]
    labels = read_labels(frames, *(names if keys else []))
    assert [label.energy for label in labels] == [-1, -3, -2]
    assert [label.forces is None for label in labels] == [True, False, True]
    assert [label.stress is None for label in labels] == [True, False, True]
    assert "energy of 3" in caplog.text and "forces of 1" in caplog.text


def test_ases_own_place_comes_first_and_the_rest_is_named(caplog):
    caplog.set_level(logging.INFO)
    results = {"energy": -3.0, "forces": FORCES_OF, "free_energy": -3.1}
    frame = crystal({"mlip_energy": 9.0}, {"mlip_forces": FORCES_OF + 1}, results)
    label = read_labels([frame])[0]
    assert label.energy == -3 and np.allclose(label.forces, FORCES_OF) and label.stress is None
    assert caplog.messages[0].endswith("no stress; not used: mlip_energy, mlip_forces")


def test_of_several_names_the_one_that_goes_with_the_energy_is_taken():
    arrays = {"REF_forces": FORCES_OF, "MLIP_forces": FORCES_OF + 1}
    frame = crystal({"REF_energy": 1.0, "MLIP_energy": 2.0}, arrays)
    with pytest.raises(InputError, match=r"'MLIP_energy' \(1 .*'REF_energy'.*energy_key"):
        read_labels([frame])
    label = read_labels([frame], "REF_energy")[0]
    assert label.energy == 1 and np.allclose(label.forces, FORCES_OF)


def test_several_names_are_refused_unless_they_hold_the_same():
    for other, fails in ((FORCES_OF, False), (FORCES_OF + 1, True)):
        frame = crystal({"energy": 1.0}, {"a_forces": FORCES_OF, "b_forces": other})
        if fails:
            with pytest.raises(InputError, match=r"b.xyz has several .*'a_forces'.*forces_key"):
                read_labels([frame], source="b.xyz")
        else:
            assert np.allclose(read_labels([frame])[0].forces, FORCES_OF)


def test_labels_of_two_kinds_of_names_in_one_file_are_refused():
    """Not only the few structures where ASE finds forces."""
    frames = [crystal({"energy": 1.0}, {"REF_forces": FORCES_OF}) for _ in range(3)]
    frames[0].calc = SinglePointCalculator(frames[0], forces=FORCES_OF + 1)
    with pytest.raises(InputError, match=r"'forces' \(1 frame\), 'REF_forces' \(3 frames\)"):
        read_labels(frames)


def test_a_stress_and_a_virial_that_agree_are_one_label():
    volume = crystal().get_volume()
    info = {"energy": 1.0, "dft_stress": STRESS_OF, "dft_virial": -STRESS_OF * volume}
    np.testing.assert_allclose(read_labels([crystal(info)])[0].stress, STRESS_OF)
    info["dft_virial"] = STRESS_OF * volume
    with pytest.raises(InputError, match="stress_key or virial_key"):
        read_labels([crystal(info)])


@pytest.mark.parametrize(
    ("frame", "keys", "words"),
    [
        (crystal({"force": 1.0}), {}, r"frame 1 of c.xyz has no energy.*\['force'\].*energy_key"),
        (crystal({"my_energy": "low"}), {}, "frame 1 of c.xyz has no energy"),
        (crystal({"energy": "low"}), {}, "energy is 'low'"),
        (crystal({"energy": 1.0}, {"forces": np.zeros(4)}), {}, r"forces has shape \(4,\)"),
        (crystal({"energy": 1.0}), {"forces_key": "f"}, "no frame of c.xyz has forces under 'f'"),
        (crystal({"energy": 1.0, "v": [1.0]}), {"virial_key": "v"}, r"virial has shape \(1,\)"),
    ],
)
def test_what_is_refused(frame, keys, words):
    with pytest.raises(InputError, match=words):
        read_labels([crystal({"energy": 0.0}), frame], source="c.xyz", **keys)


def test_tensors_under_another_name_are_found_and_named(caplog):
    caplog.set_level(logging.INFO)
    frames = [Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], info={"dft_dipole": [0, 0, z]}) for z in (1, 2)]
    found = read_tensors(frames, "dipole", source="d.xyz")
    assert found.tensors[:, 2].tolist() == [1, 2]
    assert caplog.messages == ["labels of d.xyz, 2 frames: dipole (dft_dipole)"]
    frames[0].info["xtb_dipole"] = [0, 0, 3]
    with pytest.raises(InputError, match=r"'dft_dipole' .*'xtb_dipole'.*choose one with key"):
        read_tensors(frames, "dipole")
