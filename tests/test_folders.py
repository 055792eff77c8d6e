"""With force a folder loses what an earlier call of the same function wrote, and nothing else."""

import pytest

from tests.md_runs import SIZES
from tripletjax import InputError, load
from tripletjax.potential import untrained
from tripletjax.tensor_properties import load_tensor, untrained_tensor
from tripletjax.uncertainty import load_committee, of_members


def potentials(seed, of_weights=0):
    return untrained([1, 8], SIZES, scale=1.0 + seed, seed=of_weights)


def committees(seed):
    return of_members([potentials(seed), potentials(seed, 1)])


def tensors(seed):
    return untrained_tensor("dipole", [1, 8], scale=1.0 + seed, seed=seed)


@pytest.mark.parametrize("make, read, scale", [
    (potentials, load, lambda found: found.scale),
    (committees, load_committee, lambda found: found.potential.scale),
    (tensors, load_tensor, lambda found: found.scale),
])  # fmt: skip
def test_what_others_wrote_stays(make, read, scale, tmp_path):
    folder = tmp_path / "model"
    make(0).save(folder)
    (folder / "notes.txt").write_text("of someone")
    (folder / "figures").mkdir()
    (folder / "figures/parity.png").write_text("a figure")
    with pytest.raises(InputError, match="already holds files"):
        make(1).save(folder)
    assert scale(read(folder)) == 1.0
    make(1).save(folder, force=True)
    assert scale(read(folder)) == 2.0
    assert (folder / "notes.txt").read_text() == "of someone"
    assert (folder / "figures/parity.png").read_text() == "a figure"
