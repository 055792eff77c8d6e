"""A linear model of correlations up to order 7 beside a potential of pairs, in closed form.

Energies between pairs spread twenty times as far as within them. Without the potential, what a
linear model leaves of the energies of close atoms leaks into the differences of pairs.
"""

import numpy as np

from experiments.paper.coordinates import standard
from experiments.paper.errors import errors
from experiments.paper.pairs import all_power_sums
from experiments.paper.problem import Found, Problem
from experiments.paper.ridge import RidgePath
from tripletjax.data.b8 import load_b8

PENALTIES = 10.0 ** np.arange(-14, -2)  # of the mean square of all columns
UNPENALISED = 100.0  # root mean square of the columns of the potential


def correlations_linear(problem: Problem) -> Found:
    """Ridge regression; the penalty has the least product of both errors on validation."""
    energies, known = problem.labels.energies, np.sort(problem.split.known)
    sums = all_power_sums(load_b8().positions[problem.labels.index])
    of_pairs = UNPENALISED * standard(sums[known])(sums)
    inputs = np.concatenate([problem.features("nu7").astype(float), of_pairs], 1)
    train, valid = problem.chosen_on()
    path = RidgePath(inputs[train], energies[train])
    found = [errors(path.predict(inputs[valid], p), energies[valid]) for p in PENALTIES]
    best = int(np.argmin([one["mean"] * one["delta"] for one in found]))
    path = RidgePath(inputs[known], energies[known])
    told = {"penalty": float(PENALTIES[best]), "validation": found[best]}
    return path.predict(inputs, PENALTIES[best]), told
