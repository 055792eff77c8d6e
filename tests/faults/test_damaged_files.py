"""Checkpoints and models of which one byte has changed, or the end is missing, are refused."""

import ast
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

import tripletjax
from tests.faults.conftest import FULL
from tests.md_runs import run
from tripletjax import InputError
from tripletjax.cli import main
from tripletjax.invariants.nice import fit_contraction, load_contraction, save_contraction
from tripletjax.md.files import RESTART
from tripletjax.potentials import load, untrained
from tripletjax.potentials.network import Architecture
from tripletjax.sealing import sealed, unsealed
from tripletjax.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from tripletjax.training.folder import CHECKPOINT

pytestmark = pytest.mark.once("float32")

TINY = Architecture(
    cutoff=3.0, n_radial=2, l_max=1, channels=2, tags=2, units=2, odd_units=1, width=2
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    untrained([2, 18], TINY, references=[-1.5, -1000.0], scale=0.1).save(folder)
    return folder


def assert_every_fault_is_refused(path: Path, read, scaled, beside: str = "") -> dict[str, int]:
    """Change every byte in turn and cut the file at every length (of a tenth, seeded)."""
    content = path.read_bytes()
    random = np.random.default_rng(0)
    places = np.sort(random.permutation(len(content))[: scaled(len(content))])
    changes = random.integers(1, 256, len(content))
    faults = [content[:i] + bytes([content[i] ^ changes[i]]) + content[i + 1 :] for i in places]
    faults += [content[:i] for i in places]
    try:
        for fault in faults:
            path.write_bytes(fault)
            with pytest.raises(InputError) as raised:
                read()
            message = str(raised.value)
            assert "\n" not in message and str(path.parent) in message
    finally:
        path.write_bytes(content)
    read()
    return {"bytes changed": len(places), "truncations": len(places), "bytes": len(content)}


def test_state_of_a_simulation(tmp_path, scaled, record, monkeypatch):
    """As ``md --resume`` reads it; what it was asked for and with is kept for the trials."""
    from tripletjax.md import restarts

    run(tmp_path / "run")
    asked = []

    def asking(*arguments):
        asked.append(arguments)
        return load_checkpoint(*arguments)

    monkeypatch.setattr(restarts, "load_checkpoint", asking)
    run(tmp_path / "run", resume=True)
    record |= assert_every_fault_is_refused(
        tmp_path / "run" / RESTART, lambda: load_checkpoint(*asked[0]), scaled
    )


def test_state_of_a_fit(tmp_path, scaled, record):
    path = tmp_path / CHECKPOINT
    weights = untrained([2, 18], TINY).weights
    state = weights, {name: 2 * array for name, array in weights.items()}
    save_checkpoint(path, Checkpoint(*state, {"settings": {"seed": 0}, "epoch": 3}))
    record |= assert_every_fault_is_refused(
        path, lambda: load_checkpoint(path, state, {"seed": 0}), scaled
    )


def test_weights_of_a_model(model, scaled, record):
    record |= assert_every_fault_is_refused(
        model / "weights.safetensors", lambda: load(model), scaled
    )


def test_description_of_a_model(model, scaled, record):
    record |= assert_every_fault_is_refused(model / "model.json", lambda: load(model), scaled)


def test_contraction(tmp_path, scaled, record):
    densities = np.random.default_rng(0).normal(size=(20, 1, 1, 4))
    path = tmp_path / "contraction.safetensors"
    save_contraction(path, fit_contraction(densities, 3, components=2))
    record |= assert_every_fault_is_refused(path, lambda: load_contraction(path), scaled)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_commands_refuse_a_damaged_state_with_one_line(fit, tmp_path, capsys, record):
    """train --resume and md --resume, which then leave the folder as it was."""
    shutil.copytree(fit, tmp_path, dirs_exist_ok=True)
    model, out, start = str(tmp_path / "fit"), str(tmp_path / "run"), tmp_path / "train.xyz"
    training = ["train", "--train", str(start), "--test", str(tmp_path / "test.xyz"), "--out"]
    training += [model, "--config", str(tmp_path / "config.yaml"), "--max-epochs", "2"]
    training += ["--seed", "3"]
    moving = ["md", model, str(start), "--steps", "2", "--out", out]
    assert main(moving) == 0
    for path, command in (
        (tmp_path / "fit" / CHECKPOINT, [*training, "--resume"]),
        (tmp_path / "run" / RESTART, [*moving, "--resume"]),
        (tmp_path / "fit/model/weights.safetensors", [*moving, "--force"]),
        (tmp_path / "fit/model/model.json", ["evaluate", model, str(start)]),
    ):
        whole = path.read_bytes()
        for fault in (whole[:-7], whole[:-7] + b"x" + whole[-6:], b"", whole + b"\0"):
            path.write_bytes(fault)
            before = contents(tmp_path)
            capsys.readouterr()
            assert main(command) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert str(path.parent) in line
            assert contents(tmp_path) == before
        path.write_bytes(whole)
    record["faults"] = 16


def test_files_without_a_digest_still_load(model, tmp_path):
    """Those of release 0.1.0, such as the models that come with the package."""
    old = shutil.copytree(model, tmp_path / "old")
    arrays = load_arrays((old / "weights.safetensors").read_bytes())
    (old / "weights.safetensors").write_bytes(save_arrays(arrays))
    for name, weights in load(model).weights.items():
        np.testing.assert_array_equal(weights, load(old).weights[name])


def test_what_belongs_together(model, tmp_path):
    """A description beside the weights of another fit is noticed, though all shapes agree."""
    other = tmp_path / "other"
    untrained([2, 18], TINY, references=[0.0, 0.0], seed=1).save(other)
    shutil.copy(model / "model.json", other)
    with pytest.raises(InputError, match=r"not that of model\.json beside it"):
        load(other)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.just(10**400)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=300 if FULL else 30,
    suppress_health_check=[HealthCheck.too_slow],  # on a machine with much else to do
)
@given(data=st.data())
def test_a_strangers_description_is_a_model_or_refused(model, tmp_path_factory, data):
    """Any value in any place of model.json, with weights that have no digest."""
    folder = tmp_path_factory.mktemp("stranger") / "model"
    shutil.copytree(model, folder)
    arrays = load_arrays((folder / "weights.safetensors").read_bytes())
    (folder / "weights.safetensors").write_bytes(save_arrays(arrays))
    record = json.loads((folder / "model.json").read_text())
    place = data.draw(st.sampled_from(places(record)))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    (folder / "model.json").write_text(json.dumps(record))
    try:
        load(folder)
    except InputError as error:
        assert "\n" not in str(error)


def places(record: dict) -> list[dict]:
    """A record and the records inside it that hold anything."""
    inside = [places(value) for value in record.values() if isinstance(value, dict)]
    return ([record] if record else []) + [place for found in inside for place in found]


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_pickle_is_not_opened(name, model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    trace = tmp_path / "trace"
    (folder / name).write_bytes(pickle.dumps(Trap(trace)))
    with pytest.raises(InputError):
        load(folder)
    np.save(tmp_path / "trap.npy", np.array([Trap(trace)]), allow_pickle=True)
    shutil.copy(tmp_path / "trap.npy", folder / name)
    with pytest.raises(InputError):
        load(folder)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Trap(trace)))
    assert trace.exists()  # the trap works


def test_settings_run_no_code(tmp_path, capsys, fit):
    trace, config = tmp_path / "trace", tmp_path / "config.yaml"
    config.write_text(f"seed: !!python/object/apply:os.system ['touch {trace}']\n")
    command = ["train", "--train", str(fit / "train.xyz"), "--out", str(tmp_path / "out")]
    assert main([*command, "--config", str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.yaml" in line and not trace.exists()


MODULES = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code"}
CALLS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"}
LOADERS |= {"Loader", "CLoader", "FullLoader", "CFullLoader", "UnsafeLoader", "CUnsafeLoader"}


def test_no_source_can_run_what_it_reads():
    """Neither pickle nor eval, nor a loader of YAML that makes objects."""
    for path in sorted(Path(tripletjax.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not MODULES & {a.name.split(".")[0] for a in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in MODULES, path
            elif isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                assert name not in CALLS, f"{path}:{node.lineno}"
                pickles = [k for k in node.keywords if k.arg == "allow_pickle"]
                assert all(ast.unparse(k.value) == "False" for k in pickles), path
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "yaml":
                assert node.attr not in LOADERS, f"{path}:{node.lineno}"


def test_sealed_content_is_an_ordinary_file():
    content = sealed({"a": np.arange(6.0).reshape(2, 3).T, "b": np.float32(3)}, {"made": "now"})
    assert load_arrays(content)["a"].tolist() == [[0, 3], [1, 4], [2, 5]]
    metadata, arrays = unsealed(content, ("made",))
    assert metadata == {"made": "now"} and arrays["b"].shape == ()
