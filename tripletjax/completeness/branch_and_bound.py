"""The largest gain over all rotations and matchings, certified by branch and bound.

Rotations are covered by cells. Within an angle θ of a cell's centre the angle of a pair shrinks by
at most θ, which bounds its gain; the best matching of these bounds is a bound for the cell. Cells
that cannot exceed the best known gain are dropped. In the others, linear-programming duality
determines which matchings can still exceed it; if these are few, each one is aligned, which is
exact for all rotations, and the cell is settled. The remaining cells are divided. Duality is only
used as a bound, so the certificate does not depend on the assignment solver. If one of the sets is
on a line, rotations about that line are redundant, and only rotations about axes perpendicular to
it are covered.

Host side, NumPy in float64.
"""

import numpy as np

from tripletjax.completeness.assignment import (
    Alignment,
    Problem,
    aligned_gains,
    best_matching,
    matched_products,
    refined,
)
from tripletjax.completeness.rotations import Cells, best_rotations

_CELLS_PER_EDGE = 4  # of the first covering
_CHUNK = 1_000_000  # pairs bounded at a time, over all cells
_MAX_CHOICES = 5000  # largest product of the choices of all rows for which matchings are listed
_MAX_MATCHINGS = 64  # per cell
_ROUNDING = 1e-9  # rad, added to the angle of a cell; much larger than its rounding error
_MAX_REFINED = 16  # centres of promising cells used as starts, per level


def certified_optimum(
    problem: Problem, start: Alignment, tolerance: float, max_cells: int
) -> tuple[Alignment, float]:
    """The best alignment, and an upper bound on the gain.

    Args:
        problem: the two sets of neighbours.
        start: a good alignment; the better it is, the shorter the search.
        tolerance: of the gain, above its rounding error. If the search is completed, the bound
            exceeds the gain of the result by at most this much.
        max_cells: no level is started that would exceed this total number of cells, except the
            first; the bound is then that of the remaining cells.

    Returns:
        The alignment, and the upper bound on the gain.
    """
    search = _Search(problem, start, tolerance)
    axis = _common_axis(problem)
    mirrored = problem.allow_reflection and axis is None  # rotations are enough for a line
    cells = Cells.covering(_CELLS_PER_EDGE, mirrored)
    cells = cells if axis is None else cells[cells.reach_no_twist()]
    frame = np.eye(3) if axis is None else _onto_z(axis)
    bounds = np.full(len(cells), problem.unmatched)
    n_seen = 0
    while len(cells):
        n_seen += len(cells)
        rotations, angles = cells.rotations()
        rotations = frame.T @ rotations @ frame
        angles = angles + _ROUNDING
        bounds = np.minimum(bounds, search.unassigned_bounds(rotations, angles))
        for chunk in search.chunks(np.flatnonzero(bounds > search.threshold)):
            assigned = search.assigned_bounds(rotations[chunk], angles[chunk])
            bounds[chunk] = np.minimum(bounds[chunk], assigned)
        kept = np.flatnonzero(bounds > search.threshold)
        if len(kept) and n_seen + 8 * len(kept) > max_cells:
            return search.best, float(bounds[kept].max())
        cells, bounds = cells[kept].divided(), np.repeat(bounds[kept], 8)
        if axis is not None:
            untwisted = cells.reach_no_twist()
            cells, bounds = cells[untwisted], bounds[untwisted]
    return search.best, search.threshold


def _common_axis(problem: Problem) -> np.ndarray | None:
    """The direction of a set whose vectors are all on one line to rounding, else None."""
    for vectors in (problem.first, problem.second):
        _, s, vt = np.linalg.svd(np.concatenate([vectors, np.zeros((3, 3))]))
        if s[1] <= 1e-14 * s[0]:
            return vt[0]
    return None


def _onto_z(axis: np.ndarray) -> np.ndarray:
    """A rotation that maps a unit vector to z."""
    q, _ = np.linalg.qr(np.stack([axis, *np.eye(3)[np.argsort(np.abs(axis))[:2]]], axis=1))
    rows = np.stack([q[:, 1], q[:, 2], axis])
    return rows * np.array([[np.linalg.det(rows)], [1.0], [1.0]])


class _Search:
    """The problem, the best alignment so far, and the matchings already aligned."""

    def __init__(self, problem: Problem, start: Alignment, tolerance: float):
        self.problem, self.best, self.tolerance = problem, start, tolerance
        self.aligned: set[bytes] = set()

    @property
    def threshold(self) -> float:
        """Bound up to which cells are settled."""
        return self.best.gain + self.tolerance

    def chunks(self, cells: np.ndarray) -> list[np.ndarray]:
        """Cells in chunks whose arrays fit in memory."""
        size = max(1, _CHUNK // self.problem.offsets.size)
        return [cells[i : i + size] for i in range(0, len(cells), size)]

    def unassigned_bounds(self, rotations: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Bounds with the best partner of every neighbour of one side, despite conflicts, [C]."""
        bounds = np.empty(len(angles))
        for chunk in self.chunks(np.arange(len(angles))):
            gains = bounded_gains(self.problem, rotations[chunk], angles[chunk])
            rows, columns = gains.max(axis=2).sum(axis=1), gains.max(axis=1).sum(axis=1)
            bounds[chunk] = np.minimum(rows, columns)
        return bounds

    def assigned_bounds(self, rotations: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Bounds with the best matching, [C]; -inf if all candidate matchings have been aligned."""
        gains = bounded_gains(self.problem, rotations, angles)
        matchings = np.array([best_matching(g) for g in gains])
        self.align(matchings)
        row_prices, column_prices = dual_prices(gains, matchings)
        slack = row_prices[:, :, None] + column_prices[:, None, :] - gains
        # If rounding makes the prices of a pair too low, the complete row is raised.
        lift = np.maximum(-slack.min(axis=2), 0)
        row_prices, slack = row_prices + lift, slack + lift[:, :, None]
        bounds = row_prices.sum(axis=1) + column_prices.sum(axis=1)

        promising = np.argsort(-bounds, kind="stable")[:_MAX_REFINED]
        found = refined(self.problem, rotations[promising])
        if found.gain > self.best.gain:
            self.best = found

        budgets = bounds - self.threshold
        few = _n_choices(gains, slack, row_prices, budgets) <= _MAX_CHOICES
        for c in np.flatnonzero(few & (budgets > 0)):
            listed = matchings_within(
                gains[c], slack[c], row_prices[c], column_prices[c], budgets[c]
            )
            if listed is not None:
                self.align(listed)
                bounds[c] = -np.inf
        return bounds

    def align(self, matchings) -> None:
        """Align each new matching, and keep the best."""
        fresh = {matching.tobytes(): matching for matching in matchings}
        fresh = {key: fresh[key] for key in fresh if key not in self.aligned}
        if not fresh:
            return
        self.aligned.update(fresh)
        matchings = np.array(list(fresh.values()))
        gains = aligned_gains(self.problem, matchings)
        top = int(np.argmax(gains))
        if gains[top] > self.best.gain:
            product = matched_products(self.problem, matchings[top])
            rotation = best_rotations(product, self.problem.allow_reflection)
            self.best = Alignment(float(gains[top]), matchings[top], rotation)


def bounded_gains(problem: Problem, rotations: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Largest gain of each pair within each cell, at least zero, [C, n, m]."""
    n, m = problem.offsets.shape
    # (Q a)·b = Σ Q_xy b_x a_y, for all pairs and cells in one matrix product.
    dyads = np.einsum("jx,iy->xyij", problem.second, problem.first).reshape(9, n * m)
    lengths = np.maximum(problem.limits / 2, 1e-300)
    cosine = (rotations.reshape(-1, 9) @ dyads).reshape(-1, n, m) / lengths
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))
    turned = np.cos(angles)[:, None, None]
    nearer = cosine * turned + sine * np.sin(angles)[:, None, None]
    # Alignment may be within reach; cells wider than half a turn give no bound.
    aligned = (cosine >= turned) | (angles[:, None, None] >= np.pi)
    return np.maximum(problem.offsets + problem.limits * np.where(aligned, 1.0, nearer), 0)


def dual_prices(gains: np.ndarray, matchings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dual prices of rows [C, n] and columns [C, m], whose sum is the value of the best matchings.

    Prices are not negative, those of a pair add up to at least its gain, for a matched pair
    exactly, and unmatched neighbours have price zero: the least fixed point of
    v_j = max(0, g_ij - u_i).
    """
    n, m = gains.shape[1:]
    matched = matchings >= 0
    partners = np.where(matched, matchings, 0)
    own = np.take_along_axis(gains, partners[:, :, None], axis=2)[:, :, 0]
    columns = np.zeros((len(gains), m))
    rows = np.zeros((len(gains), n))
    for _ in range(min(n, m) + 1):
        rows = np.where(matched, own - np.take_along_axis(columns, partners, axis=1), 0)
        raised = np.maximum((gains - rows[:, :, None]).max(axis=1), 0)
        if (raised <= columns).all():
            break
        columns = np.maximum(columns, raised)
    return np.maximum(rows, 0), columns


def _n_choices(gains, slack, row_prices, budgets) -> np.ndarray:
    """Product over rows of the number of choices (pairs, or unmatched) within the budget, [C]."""
    pairs = ((gains > 0) & (slack < budgets[:, None, None])).sum(axis=2)
    leaving = row_prices < budgets[:, None]
    return np.prod((pairs + leaving).astype(float), axis=1)


def matchings_within(gains, slack, row_prices, column_prices, budget) -> list[np.ndarray] | None:
    """All matchings of a cell within the budget, or None if there are too many.

    A matching is below the dual value by the slack of its pairs and the prices of the neighbours
    that it leaves unmatched.
    """
    n = len(gains)
    choices = []
    for i in range(n):
        allowed = np.flatnonzero((gains[i] > 0) & (slack[i] < budget))
        row = [(float(slack[i, j]), int(j)) for j in allowed]
        if row_prices[i] < budget:
            row.append((float(row_prices[i]), -1))
        choices.append(sorted(row))
    free = float(column_prices.sum())
    prices = column_prices.tolist()
    found: list[np.ndarray] = []

    def extend(i: int, spent: float, taken: tuple[int, ...]) -> bool:
        """Return whether the list is short enough."""
        if i == n:
            paid = sum(prices[j] for j in taken if j >= 0)
            if spent + free - paid < budget * (1 + 1e-9):
                found.append(np.array(taken))
            return len(found) <= _MAX_MATCHINGS
        for cost, j in choices[i]:
            if spent + cost >= budget:
                break
            if (j < 0 or j not in taken) and not extend(i + 1, spent + cost, (*taken, j)):
                return False
        return True

    return found if extend(0, 0.0, ()) else None
