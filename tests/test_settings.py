"""Settings: their files give back what was written, and names that do not exist are found."""

from dataclasses import dataclass, field, fields
from importlib import resources

import pytest

from tripletjax import InputError
from tripletjax.md.config import MDConfig, MDOptions
from tripletjax.settings import Settings, as_markdown, as_yaml, read_settings, setting
from tripletjax.training.config import FitOptions, TrainConfig
from tripletjax.training.kernel_config import KernelConfig
from tripletjax.types import Hypers

pytestmark = pytest.mark.once("float32")
VALUES = [
    0.1 + 0.2, 1e-300, -5, True, None, "nve", "null", "No", "true", "1e3", "12", "a: b # c", "Å/fs",
    "", " x", "/data/run 1/fit", "two\nlines", {"H": -13.6, "No": -1.0}, [1.0, 2.5], (0.5, 2.0),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back(value, tmp_path):
    entries = [setting(None, "anything, " * 30, "eV", none="nothing")]
    entries[0].name = "thing"
    path = tmp_path / "settings.yaml"
    path.write_text(as_yaml({"All": entries}, {"thing": value}, "Title"), encoding="utf-8")
    found = read_settings(path)["thing"]
    expected = list(value) if isinstance(value, tuple) else value
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize("make, message", [
    (lambda: TrainConfig().with_settings({"max_epoch": 3}),
     "unknown setting 'max_epoch'; did you mean 'max_epochs'?"),
    (lambda: TrainConfig().with_settings({"cut_off": 3}), "did you mean 'cutoff'?"),
    (lambda: TrainConfig(bach_size=3), "TrainConfig: unknown setting 'bach_size'; did you mean"),
    (lambda: MDConfig(temprature=3), "MDConfig: unknown setting 'temprature'; did you mean"),
    (lambda: MDConfig().with_settings({"zzz": 3}), "unknown setting 'zzz'; known are ensemble,"),
    (lambda: MDConfig(ensemble="nvt", thermostat="langvin"), "did you mean 'langevin'?"),
])  # fmt: skip
def test_names_that_do_not_exist(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_nested_settings_count_by_their_fields():
    @dataclass(frozen=True, kw_only=True)
    class Inner(Settings):
        size: int = setting(1, "size")

    @dataclass(frozen=True, kw_only=True)
    class Outer(Settings):
        inner: Inner = field(default_factory=Inner)
        steps: int = setting(2, "steps")

    changed = Outer().with_settings({"size": 5})
    assert changed.inner.size == 5 and changed.flat() == {"size": 5, "steps": 2}
    assert [entry.name for entry in Outer.entries()] == ["size", "steps"]


TABLES = {
    ("potentials.md", "train"): [*FitOptions.entries(), *TrainConfig.entries()],
    ("potentials.md", "train --model kernel"): KernelConfig.entries(),
    ("dynamics.md", "md"): [*MDConfig.entries(), *MDOptions.entries()],
    ("hyperparameters.md", "describe"): fields(Hypers),
}


@pytest.mark.parametrize("place, command", TABLES)
def test_documentation_has_every_setting(place, command):
    """In the words of the options; the message shows the table as it should be."""
    text = resources.files("tripletjax").joinpath("docs", place).read_text(encoding="utf-8")
    found = text.split(f"<!-- settings of {command} -->\n")[1].split("<!-- end -->")[0]
    assert found == as_markdown(TABLES[place, command])
