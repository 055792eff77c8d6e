"""The commands train and evaluate: what they write, and one line for bad input."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write

from tests.test_training import clusters
from tripletjax.cli import main
from tripletjax.fitting import fit
from tripletjax.potentials import load, untrained
from tripletjax.potentials.architecture import SIZES, Architecture
from tripletjax.settings import read_settings
from tripletjax.training.config import FitOptions, TrainConfig
from tripletjax.training.kernel_config import KernelConfig

pytestmark = pytest.mark.once("float32")

CONFIG = "n_radial: 4\nl_max: 1\nchannels: 4\ntags: 4\nunits: 8\nodd_units: 2\nwidth: 8\n"
CONFIG += "cutoff: 3.0\nsteps_between_validations: 1\nlaplace_members: 0\n"


@pytest.fixture
def files(tmp_path):
    write(tmp_path / "train.xyz", clusters(6))
    write(tmp_path / "test.xyz", clusters(3, seed=1))
    write(tmp_path / "bare.xyz", [molecule("H2O")] * 3)
    write(tmp_path / "other.xyz", _other())
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "typo.yaml").write_text("bach_size: 2\n")
    return tmp_path


def _other():
    frame = clusters(1)[0]
    frame.numbers[0] = 10
    return frame


def test_train_then_evaluate(files, capsys, caplog, monkeypatch):
    """What is written and printed; every stage has a line in the log."""
    monkeypatch.setattr("tripletjax.commands.fit_options.LARGE_FILE", 0)
    caplog.set_level("INFO", "tripletjax")
    data = ["--train", str(files / "train.xyz"), "--test", str(files / "test.xyz")]
    options = ["--config", str(files / "config.yaml"), "--max-epochs", "2", "--seed", "3"]
    assert main(["train", *data, *options, "--out", str(files / "fit")]) == 0
    assert "test: energy_mae_mev_per_atom" in capsys.readouterr().out
    record = json.loads((files / "fit" / "metrics.json").read_text())
    assert record["settings"]["seed"] == 3 and record["epochs"] == 2
    out = files / "errors.json"
    arguments = ["evaluate", str(files / "fit"), str(files / "test.xyz"), "--out", str(out)]
    assert main(arguments) == 0
    stages = ["reading", "labels of", "reading", "labels of", "preparing",
              "structures for training: 5", "compiling", "fitting", "fitted", "evaluating the fit",
              "the fit is in", "reading", "labels of", "evaluating 3"]  # fmt: skip
    said = [r.getMessage() for r in caplog.records if r.name.startswith("tripletjax")]
    assert len(said) == len(stages), said
    assert all(line.startswith(stage) for line, stage in zip(said, stages, strict=True))
    errors = json.loads(out.read_text())
    np.testing.assert_allclose(list(errors.values()), list(record["test"].values()), rtol=1e-4)
    assert main(["evaluate", str(files / "fit"), str(files / "other.xyz")]) == 2
    assert "knows only [2, 18]" in capsys.readouterr().err
    again = ["--config", str(files / "fit" / "settings.yaml"), "--out", str(files / "again")]
    assert main(["train", *data, *again]) == 0
    for name in ("settings.yaml", "model/weights.safetensors"):  # bit for bit
        assert (files / "again" / name).read_bytes() == (files / "fit" / name).read_bytes()
    found = fit(files / "train.xyz", config=files / "fit" / "settings.yaml", show=False)  # too
    for name, array in load(files / "fit").weights.items():
        assert np.array_equal(found.weights[name], array), name


@pytest.mark.parametrize("options, config", [
    ([], TrainConfig()), (["--model", "kernel"], KernelConfig()),
])  # fmt: skip
def test_print_config_gives_the_defaults(options, config, files, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", *options, "--print-config"])
    assert stopped.value.code == 0
    template = files / "template.yaml"
    template.write_text(capsys.readouterr().out)
    others = {"model": "kernel"} if options else FitOptions().flat()
    assert read_settings(template) == others | config.flat()
    for line in template.read_text().splitlines():
        assert len(line) <= 100


def test_what_was_chosen_is_in_the_settings(files, monkeypatch):
    """Also on the command line; options come before the file, and x64 is that of the file."""
    found = {}

    def noted(task, config, progress, keep, show):
        found["dtype"] = jnp.zeros(()).dtype
        raise KeyboardInterrupt

    monkeypatch.setattr("tripletjax.training.run.run_epochs", noted)
    frames = clusters(6)
    for frame in frames:
        frame.info["mine"] = frame.get_potential_energy()
        frame.calc = None
    write(files / "named.xyz", frames)
    (files / "config.yaml").write_text(CONFIG + "x64: true\nseed: 1\nmax_minutes: 3\n")
    options = ["--config", str(files / "config.yaml"), "--seed", "7", "--energy-key", "mine"]
    options += ["--reference-energies", "He=-1,Ar=-1000"]
    command = ["train", "--train", str(files / "named.xyz"), "--out", str(files / "fit")]
    assert main([*command, *options]) == 130
    assert found["dtype"] == jnp.float64
    kept = read_settings(files / "fit" / "settings.yaml")
    assert kept.keys() == (FitOptions().flat() | TrainConfig().flat()).keys()
    assert kept["x64"] is True and (kept["seed"], kept["max_minutes"]) == (7, 3)
    assert kept["reference_energies"] == {"He": -1.0, "Ar": -1000.0}
    assert (kept["energy_key"], kept["max_epochs"], kept["cutoff"]) == ("mine", None, 3.0)


def test_start_from_an_earlier_fit(files, capsys):
    sizes = Architecture(cutoff=3.0, n_radial=4, l_max=1, channels=4, units=8, odd_units=2, width=8)
    earlier = untrained([2, 18], sizes, references=[-1.0, -1000.0], seed=5)
    earlier.save(files / "earlier" / "model")
    data = ["--train", str(files / "train.xyz"), "--max-epochs", "1"]
    options = ["--start-from", str(files / "earlier"), "--config", str(files / "start.yaml")]
    (files / "start.yaml").write_text("laplace_members: 0\nlearning_rate: 1e-9\nema: 0\n")
    assert main(["train", *data, *options, "--out", str(files / "fit")]) == 0
    found = load(files / "fit")
    assert found.references == earlier.references
    for name, array in earlier.weights.items():
        np.testing.assert_allclose(found.weights[name], array, atol=1e-6)
    kept = read_settings(files / "fit" / "settings.yaml")
    assert kept["start_from"] == str(files / "earlier") and kept["cutoff"] == 3.0
    again = ["--config", str(files / "fit" / "settings.yaml"), "--out", str(files / "again")]
    assert main(["train", *data, *again]) == 0
    weights = "model/weights.safetensors"
    assert (files / "again" / weights).read_bytes() == (files / "fit" / weights).read_bytes()
    other = ["--start-from", str(files / "earlier"), "--cutoff", "4", "--out", str(files / "other")]
    assert main(["train", *data, *other]) == 2
    assert "invalid cutoff: the model is that of the initial fit" in capsys.readouterr().err


KERNEL = "model: kernel\nmethod: sparse\nn_inducing: 4\nlength_scale: 2\ntune: false\n"
KERNEL += "n_max: 2\nl_max: 1\ncutoff: 3.0\n"


def test_a_kernel_from_file_to_dynamics(files, capsys):
    """Fitted by the command, repeated by its settings, evaluated and simulated as any other."""
    (files / "kernel.yaml").write_text(KERNEL)
    data = ["--train", str(files / "train.xyz"), "--test", str(files / "test.xyz")]
    options = ["--config", str(files / "kernel.yaml"), "--seed", "3"]
    assert main(["train", *data, *options, "--out", str(files / "fit")]) == 0
    first = capsys.readouterr().out
    record = json.loads((files / "fit" / "metrics.json").read_text())
    assert record["structures"] == {"train": 5, "valid": 1, "test": 3}
    assert "test: energy_mae" in first
    kept = read_settings(files / "fit" / "settings.yaml")
    assert kept.keys() == KernelConfig().flat().keys() | {"model"}
    assert (kept["model"], kept["seed"], kept["n_inducing"]) == ("kernel", 3, 4)
    again = ["--config", str(files / "fit" / "settings.yaml"), "--out", str(files / "again")]
    assert main(["train", *data, *again]) == 0
    assert capsys.readouterr().out == first
    frames = read(files / "test.xyz", ":")
    found = [load(files / name).predict(frames) for name in ("fit", "again")]
    assert np.array_equal(found[0].forces[0], found[1].forces[0])
    out = files / "errors.json"
    assert main(["evaluate", str(files / "fit"), str(files / "test.xyz"), "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == pytest.approx(record["test"], rel=1e-6)
    run = ["md", str(files / "fit"), str(files / "test.xyz"), "--steps", "2", "--log-every", "1"]
    run += ["--write-every", "1", "--temperature", "1", "--timestep", "0.1"]
    assert main([*run, "--max-force-std", "100", "--out", str(files / "run")]) == 0
    assert "max_force_std_eV_per_A" in (files / "run" / "thermo.csv").read_text()
    assert main([*run, "--max-force-std", "1e-9", "--out", str(files / "short")]) == 0
    assert (files / "short" / "uncertain.xyz").is_file()


@pytest.mark.parametrize("options, words", [
    (["--max-epochs", "3"], "invalid --max-epochs: fits with --model kernel do not read it"),
    (["--committee", "2"], "invalid committee: a kernel potential is fitted in closed form"),
    (["--test", "other.xyz"], "10"),
])  # fmt: skip
def test_what_a_kernel_does_not_read(options, words, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    command = ["train", "--model", "kernel", "--train", "train.xyz", "--out", "fit"]
    assert main([*command, *options]) == 2
    assert words in capsys.readouterr().err and not (files / "fit").exists()


@pytest.mark.parametrize("text, words", [
    ("model: null", "these settings are of a fit with objects given in Python; give --model"),
    ("model: triplit", "invalid model='triplit': expected one of triplet, kernel; did you mean"),
    ("start_from: nowhere", "nowhere contains no"),
    ("max_epoch: 2", "typo.yaml: unknown setting 'max_epoch'; did you mean 'max_epochs'?"),
    ("x64: 3", "invalid x64=3: expected one of False, True"),
    ("committee: 1", "invalid committee=1"),
    ("energy_key: 3", "invalid energy_key=3: expected a name"),
])  # fmt: skip
def test_settings_that_cannot_be_used(text, words, files, capsys):
    (files / "typo.yaml").write_text(text)
    command = ["train", "--train", str(files / "train.xyz"), "--out", str(files / "fit")]
    assert main([*command, "--config", str(files / "typo.yaml")]) == 2
    assert words in capsys.readouterr().err and not (files / "fit").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--train", "missing.xyz"], "not a file"),
        (["--train", "bare.xyz"], "--energy-key"),
        (["--train", "train.xyz", "--test", "other.xyz"], "10"),
        (["--train", "train.xyz", "--config", "typo.yaml"], "did you mean 'batch_size'"),
        (["--train", "train.xyz", "--energy-key", "dft"], "'energy', 'forces'"),
        (["--train", "train.xyz", "--cutoff", "-1"], "cutoff"),
        (["--train", "train.xyz", "--max-minutes", "0"], "max_minutes"),
        (["--train", "train.xyz", "--committee", "1"], "committee=1"),
        (["--train", "train.xyz", "--max-epochs", "0"], "max_epochs"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(options, words, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    assert main(["train", *options, "--out", "fit"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and words in lines[0]
    assert sorted(files.iterdir()) == before


def interrupted(task, config, progress, keep, show):
    keep(progress)
    raise KeyboardInterrupt("interrupted after 0 steps")


@pytest.mark.parametrize("committee", [False, True])
def test_an_interrupted_fit_says_how_to_go_on(committee, files, monkeypatch, capsys):
    monkeypatch.setattr("tripletjax.training.run.run_epochs", interrupted)
    out, many = files / "fit", ["--committee", "2"] if committee else []
    command = ["train", "--train", str(files / "train.xyz"), "--out", str(out), *many]
    assert main([*command, "--config", str(files / "config.yaml")]) == 130
    line = capsys.readouterr().err.splitlines()[-1]
    assert str(out) in line and "--resume" in line and "interrupted" in line


def test_a_fit_interrupted_before_its_start_leaves_nothing(files, monkeypatch, capsys):
    monkeypatch.setattr("tripletjax.training.run.split_buckets", _raise_interrupt)
    command = ["train", "--train", str(files / "train.xyz"), "--out", str(files / "fit")]
    assert main(command) == 130
    assert "--resume" not in capsys.readouterr().err and not (files / "fit").exists()


def _raise_interrupt(*_):
    raise KeyboardInterrupt


def test_members_of_a_committee_share_the_minutes(files, monkeypatch, caplog):
    limits = []

    def noted(task, config, progress, keep, show):
        limits.append(config.max_minutes)
        raise KeyboardInterrupt

    monkeypatch.setattr("tripletjax.training.run.run_epochs", noted)
    caplog.set_level("INFO")
    command = ["train", "--train", str(files / "train.xyz"), "--out", str(files / "fit")]
    assert main([*command, "--committee", "4", "--max-minutes", "10"]) == 130
    assert limits == [2.5] and "member 1 of 4, for 2.5 minutes" in caplog.text


def test_a_size_stands_for_settings(files, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--size", "small", "--print-config"])
    text = capsys.readouterr().out
    assert all(f"{name}: {value}" in text for name, value in SIZES["small"].items())
    assert Architecture(**SIZES["medium"]) == Architecture()
    assert len({frozenset(settings) for settings in SIZES.values()}) == 1  # one replaces another
    (files / "size.yaml").write_text("size: small\nwidth: 8\nmax_epochs: 1\nlaplace_members: 0\n")
    options = ["--config", str(files / "size.yaml"), "--out", str(files / "fit")]
    assert main(["train", "--train", str(files / "train.xyz"), *options]) == 0
    found = load(files / "fit").model.architecture
    assert found == Architecture(**{**SIZES["small"], "width": 8})


def test_a_size_replaces_that_of_a_file(files, monkeypatch):
    found = []

    def noted(task, config, *_):
        found.append(config.architecture)
        raise KeyboardInterrupt

    monkeypatch.setattr("tripletjax.training.run.run_epochs", noted)
    (files / "size.yaml").write_text("size: small\nwidth: 8\n")
    options = ["--config", str(files / "size.yaml"), "--out", str(files / "fit")]
    command = ["train", "--train", str(files / "train.xyz"), *options, "--size", "medium"]
    assert main(command) == 130
    assert found == [Architecture()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "kernel", "--size", "small"], "invalid --size: fits with --model kernel"),
        (["--config", "wrong.yaml"], "invalid size='huge'"),
        (["--config", "kernel.yaml"], "'size'"),
    ],
)
def test_a_size_that_is_not_one_is_an_error(options, words, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    (files / "wrong.yaml").write_text("size: huge\n")
    (files / "kernel.yaml").write_text("model: kernel\nsize: small\n")
    assert main(["train", "--train", "train.xyz", "--out", "fit", *options]) == 2
    assert words in capsys.readouterr().err
    assert not (files / "fit").exists()
