"""The rows of the paper's table: what each network is trained on, and to what."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn

from experiments.paper.networks import (
    CODE,
    Head,
    Linear,
    LinearHead,
    Reconstruction,
    Summed,
    Wide,
)  # fmt: skip

ZEROS = 8 * 8 - 7 * 7  # pairs of atoms one of which is the centre


class Scaling(NamedTuple):
    """How large the principal components of features are that a network sees.

    A component of root mean square s is multiplied by s^power. The first layer of a network can
    undo that, so that it changes not what a row can learn, but what it learns first.
    """

    power: float
    size: float  # root mean square of a row, all components together


SMALLEST = 1e-5  # of the size of a row: components below are nothing in float32
# Small components of triplets vary fast as atoms move: a network that sees less of them learns
# smooth functions first. Of correlations they are what linear models tell the members of pairs
# apart by.
SCALINGS = {
    "triplets": Scaling(0.5, 5.0),
    "nu3": Scaling(0.0, 40.0),
    "nu7": Scaling(0.0, 40.0),
}


@dataclass(frozen=True)
class Row:
    """One row."""

    published: str | None  # its name in paper_table.json
    network: Callable[[int], nn.Module]  # of the number of targets
    inputs: str  # "triplets", "nu3", "nu7", or the row whose encoder makes them
    targets: str = "energies"  # "residuals" of them beside a potential of pairs, or "nu7"


ROWS = {
    "A_rho_L": Row(
        "A_L^rho  (reconstruct nu<=7 features, linear encoder)",
        lambda n: Reconstruction(Linear(CODE), n, ZEROS), "triplets", "nu7",
    ),
    "A_rho_NL": Row(
        "A_NL^rho (reconstruct nu<=7 features, nonlinear encoder)",
        lambda n: Reconstruction(Wide(CODE), n, ZEROS), "triplets", "nu7",
    ),
    "A_L": Row(
        "A_L  (energy from linearly encoded triplets, nonlinear head)",
        lambda _: Head(), "A_rho_L",
    ),
    "A_NL": Row(
        "A_NL (energy from nonlinearly encoded triplets)", lambda _: Head(), "A_rho_NL"
    ),
    "B_L": Row(
        "B_L  (triplets nu=1, linear)",
        lambda _: Summed(LinearHead(), ZEROS), "triplets",
    ),
    "B_NL": Row("B_NL (triplets nu=1, nonlinear)", lambda _: Summed(Head(), ZEROS), "triplets"),
    "B_NL_pairs": Row(
        None, lambda _: Summed(Head(), ZEROS), "triplets", "residuals"
    ),
    "C_L": Row("C_L  (nu<=7, linear)", lambda _: LinearHead(), "nu7"),
    "C_NL": Row("C_NL (nu<=7, nonlinear)", lambda _: Head(), "nu7"),
    "D_L": Row("D_L  (nu<=3, linear)", lambda _: LinearHead(), "nu3"),
    "D_NL": Row("D_NL (nu<=3, nonlinear)", lambda _: Head(), "nu3"),
}  # fmt: skip
