"""Ring pairs: what up to five neighbours see of them, their labels, and the models in small."""

import numpy as np
import pytest

from experiments.paper.ring_pairs import (
    MIN_DISTANCE,
    RANGES,
    closest,
    load_rings,
    ring_positions,
    sample,
)
from experiments.paper.rings import QUICK, label_figures, report, run, shuffled
from tripletjax.data.b8 import b8_positions

pytestmark = pytest.mark.once("float32")  # all in float64, whatever the default
INNER, OUTER, CAP = slice(0, 14), slice(14, 23), slice(23, 24)  # neighbours of the centre


def tuple_sum(places: list[np.ndarray]) -> float:
    """Σ over tuples, one neighbour [., 3] from each place, of a function of the tuple up to O(3).

    Π_a u_a(|r_a|) Π_{a<b} h_ab(|r_a - r_b|), with other u and h for every place, so that no
    permutation of the places leaves it as it is.
    """
    total = np.ones(())
    for place, r in enumerate(places):
        total = total[..., None] * np.cos((0.7 + 0.31 * place) * np.linalg.norm(r, axis=1) + place)
        for other, s in enumerate(places[:place]):
            distances = np.linalg.norm(s[:, None] - r, axis=-1)
            shape = [1] * (place + 1)
            shape[other], shape[place] = distances.shape
            wave = np.cos((1.1 + 0.23 * place + 0.41 * other) * distances + other)
            total = total * wave.reshape(shape)
    return float(total.sum())


def differ(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    one, other = tuple_sum(first), tuple_sum(second)
    n_tuples = np.prod([len(place) for place in first])
    return abs(one - other) > 1e-10 * np.sqrt(n_tuples)


def test_the_sums_see_what_they_should():
    """B8 pairs agree in triples of neighbours and differ in quadruples."""
    first, second = b8_positions(np.array([1.4, 0.6, 1.7, 2.3, 2.7, 1.8]))[:, 1:]
    for order, expected in ((2, False), (3, False), (4, True)):
        assert differ([first] * order, [second] * order) == expected
    mirrored = first * [-1, 1, 1]
    assert not differ([first] * 4, [mirrored] * 4)


def test_five_neighbors_agree_and_six_do_not():
    first, second = ring_positions(sample(1)[0])[:, 1:]
    for order in (1, 2, 3, 4, 5):
        assert not differ([first] * order, [second] * order), order
    six = [CAP, INNER, INNER, OUTER, OUTER, OUTER]
    assert differ(*([member[part] for part in six] for member in (first, second)))


def test_samples_are_those_described():
    drawn = sample(50)
    assert drawn.shape == (50, 4) and (sample(20) == drawn[:20]).all()
    assert ((drawn >= RANGES[:, 0]) & (drawn <= RANGES[:, 1])).all()
    positions = ring_positions(drawn)
    assert positions.shape == (50, 2, 25, 3)
    assert not positions[:, :, 0].any()
    assert closest(positions).min() > MIN_DISTANCE


def test_labels_are_worth_more_than_the_differences():
    rings = load_rings()
    assert len(rings.energies) == 2 * len(rings.parameters) == len(rings.positions)
    assert (rings.parameters == sample(len(rings.parameters))).all(), "none failed to converge"
    figures = label_figures(rings)
    assert figures["largest_change_when_turned_meV"] < 1e-3
    assert figures["difference_percentiles_meV"]["50"] > 1


def test_members_change_places():
    rings = load_rings()
    positions, energies = shuffled(rings)
    differences, original = energies[0::2] - energies[1::2], rings.energies.reshape(-1, 2)
    assert np.allclose(abs(differences), abs(original[:, 0] - original[:, 1]))
    assert abs(differences.mean()) < differences.std() / 2
    assert (positions[:, -1, 2] > 0).sum() == len(positions) / 2


def test_models_in_small(tmp_path):
    record = run(QUICK, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rings.json", "rings.png"]
    smallest, _, largest = record["relative_distance_in_pairs"]["correlations"]
    assert largest < 1e-12
    smallest, _, largest = record["relative_distance_in_pairs"]["fingerprint"]
    assert smallest > 1e-11
    for name, model in record["models"].items():
        if name.startswith("nu <= 5"):
            assert model["errors"]["delta"] == pytest.approx(record["blind"]["delta"], rel=1e-3)
            assert np.ptp(model["intervals"]["delta"]) > 0
        assert name in report(record)
