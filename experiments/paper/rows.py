"""The rows of the paper's table: what each network is trained on, and to what."""

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Row:
    """One row."""

    published: str  # its name in paper_table.json
    network: Callable[[int], nn.Module]  # of the number of targets
    inputs: str  # "triplets", "nu3", "nu7", or the row whose encoder makes them
    targets: str = "energies"  # or "nu7"
    is_blind: bool = False  # to the difference of a pair, by construction


ROWS = {
    "A_rho_L": Row(
        "A_L^rho  (reconstruct nu<=7 features, linear encoder)",
        lambda n: Reconstruction(Linear(CODE), n, ZEROS), "triplets", "nu7", is_blind=True,
    ),
    "A_rho_NL": Row(
        "A_NL^rho (reconstruct nu<=7 features, nonlinear encoder)",
        lambda n: Reconstruction(Wide(CODE), n, ZEROS), "triplets", "nu7",
    ),
    "A_L": Row(
        "A_L  (energy from linearly encoded triplets, nonlinear head)",
        lambda _: Head(), "A_rho_L", is_blind=True,
    ),
    "A_NL": Row(
        "A_NL (energy from nonlinearly encoded triplets)", lambda _: Head(), "A_rho_NL"
    ),
    "B_L": Row(
        "B_L  (triplets nu=1, linear)",
        lambda _: Summed(LinearHead(), ZEROS), "triplets", is_blind=True,
    ),
    "B_NL": Row("B_NL (triplets nu=1, nonlinear)", lambda _: Summed(Head(), ZEROS), "triplets"),
    "C_L": Row("C_L  (nu<=7, linear)", lambda _: LinearHead(), "nu7"),
    "C_NL": Row("C_NL (nu<=7, nonlinear)", lambda _: Head(), "nu7"),
    "D_L": Row("D_L  (nu<=3, linear)", lambda _: LinearHead(), "nu3", is_blind=True),
    "D_NL": Row("D_NL (nu<=3, nonlinear)", lambda _: Head(), "nu3", is_blind=True),
}  # fmt: skip
