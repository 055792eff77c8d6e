"""Types shared by all modules. Units: Å, eV, eV/Å, eV/Å³, fs, atomic mass units."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import numpy as np

from tripletjax.checks import CUTOFF_FUNCTIONS as CUTOFF_FUNCTIONS
from tripletjax.checks import RADIAL_BASES as RADIAL_BASES
from tripletjax.checks import ConvergenceError as ConvergenceError
from tripletjax.checks import InputError as InputError
from tripletjax.checks import SimulationError as SimulationError
from tripletjax.checks import as_choice as as_choice
from tripletjax.checks import as_cutoff_function as as_cutoff_function
from tripletjax.checks import as_integer as as_integer
from tripletjax.checks import as_number as as_number
from tripletjax.checks import as_positive as as_positive
from tripletjax.checks import is_finite, require_names
from tripletjax.checks import settle as settle
from tripletjax.settings import setting

Array = jax.Array | np.ndarray

# f_c(r): (distances [...] Å, cutoff, cutoff_width) -> [...], pure and smooth
CutoffFunction = Callable[[Any, float, float], Any]
SMEARED_BASES = ("gto", "laplacian", "gaussian")  # bases that read gaussian_width
SHELL_BASES = ("gaussian", "logarithmic")  # bases that read radial_range
TRIPLET_FORMS = ("edge", "stretched")
COUPLINGS = ("minimal", "coupled")
NU_LIMIT = 20
L_MAX_LIMIT = 20  # tables and recursions are tested up to this degree


@jax.tree_util.register_static
@dataclass(frozen=True)
class Prepared:
    """The settings that a batch was prepared with: hashable and static, so that they can be checked
    under ``jit`` too."""

    cutoff: float  # Å
    elements: tuple[int, ...]  # atomic numbers, ascending
    all_atoms: bool = True  # whether every atom has an environment


class Batch(NamedTuple):
    """Padded structures with their neighbour lists: a pytree of arrays, created by ``prepare``.

    A atoms in total, S structures, C environments (one per centre), up to K neighbours, E elements;
    A, C and K are rounded up to a few sizes, so that one compiled program serves many inputs.
    Neighbours are sorted by distance: ``vectors[c, k] = positions[neighbors[c, k]] +
    shifts[c, k] @ cells[structure] - positions[centers[c]]``.
    """

    positions: Array  # [A, 3] Å, each structure wrapped into its cell and centred on the origin
    cells: Array  # [S, 3, 3] Å, rows are lattice vectors
    species: Array  # [A] index into elements
    structure: Array  # [A] index of the structure of each atom
    atom_mask: Array  # [A] False on padding
    centers: Array  # [C] index of the central atom
    center_mask: Array  # [C] False on padding
    neighbors: Array  # [C, K] index of the neighbouring atom
    shifts: Array  # [C, K, 3] lattice translations, integers
    neighbor_mask: Array  # [C, K] False on padding
    elements: Array  # [E] atomic numbers, ascending
    prepared: Prepared | None = None  # None: created by hand, and not checked

    @property
    def cutoff(self) -> float | None:
        """Å; atoms strictly inside are neighbours. None if unknown."""
        return None if self.prepared is None else self.prepared.cutoff


def require_prepared(
    batch: Batch, cutoff: float, elements: tuple[int, ...], user: str, exact: bool = False
) -> None:
    """Check, also under ``jit``, that a batch was prepared for what is evaluated on it.

    A batch created by hand, with ``prepared=None``, is not checked.

    Args:
        batch: from ``prepare``, possibly modified since.
        cutoff: Å; the batch must have been prepared with this cutoff or a larger one.
        elements: atomic numbers, ascending, that ``user`` supports.
        user: name of what evaluates the batch, for messages.
        exact: the batch must have exactly these elements, rather than a subset of them.

    Raises:
        InputError: the cutoff or the elements of the batch do not match.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import prepare
        >>> require_prepared(prepare(molecule("H2O"), cutoff=4.0), 3.0, (1, 6, 8), "the model")
    """
    if batch.prepared is None:
        return
    if batch.prepared.cutoff < cutoff:
        raise InputError(
            f"the batch was prepared with cutoff={batch.prepared.cutoff:g} Å, but the cutoff of "
            f"{user} is {cutoff:g} Å; prepare it with cutoff={cutoff:g} or more"
        )
    present = batch.prepared.elements
    if present != tuple(elements) if exact else not set(present) <= set(elements):
        remedy = "prepare it with these species" if exact else "leave out the unknown species"
        raise InputError(
            f"the batch was prepared with species={list(present)}, but those of {user} are "
            f"{list(elements)}; {remedy}"
        )


class Environments(NamedTuple):
    """C padded environments with at most K neighbours: the input of functions of atoms.

    Species are indices into the species of the model or descriptor that the environments are for.
    """

    vectors: Array  # [C, K, 3] Å, from each centre to its neighbours
    species: Array  # [C, K] index of each neighbour's species
    mask: Array  # [C, K] False on padding
    center: Array  # [C] index of the centre's species
    neighbors: Array  # [C, K] row of the environment whose centre the neighbour is


@jax.tree_util.register_static
@dataclass(frozen=True, kw_only=True)
class Basis:
    """Hyperparameters of the density expansion: hashable and static under ``jit``.

    ``n_max`` counts the radial functions and ``l_max`` is inclusive, so that each species has
    ``n_max * (l_max + 1)**2`` coefficients.
    """

    cutoff: float = setting(5.0, "atoms strictly inside are neighbours", "Å")
    cutoff_function: str | CutoffFunction = setting(
        "shifted_cosine",
        "cutoff function; smooth is three times differentiable, bump infinitely differentiable",
        choices=CUTOFF_FUNCTIONS,
    )
    cutoff_width: float = setting(
        0.5, "width of the region inside the cutoff where the cutoff function decays", "Å"
    )
    radial_scaling: tuple[float, float, float] | None = setting(
        None,
        "rate c, scale r0 (Å) and exponent m of the factor c / (c + (r/r0)^m) of each neighbour's "
        "contribution to the density",
        none="no scaling",
    )
    radial: str = setting("gto", "radial functions", choices=RADIAL_BASES)
    radial_range: tuple[float, float] | None = setting(
        None, "range of the centres of gaussian and logarithmic radial functions", "Å",
        none="from cutoff/2, or cutoff/8 for logarithmic, to cutoff",
    )  # fmt: skip
    gaussian_width: float | None = setting(
        None, "smearing of the density, or width of the gaussian radial functions", "Å",
        none="0.3 for gto; none for laplacian; the distance between two centres for gaussian",
    )  # fmt: skip
    n_max: int = setting(4, "number of radial functions")
    l_max: int = setting(8, "highest degree of the harmonics, inclusive")

    def __post_init__(self):
        settle(
            self,
            cutoff=as_positive("cutoff", self.cutoff, "Å"),
            cutoff_width=as_positive("cutoff_width", self.cutoff_width, "Å"),
            n_max=as_integer("n_max", self.n_max, 1, 50),
            l_max=as_integer("l_max", self.l_max, 0, L_MAX_LIMIT),
        )
        if self.cutoff_width > self.cutoff:
            raise InputError(
                f"cutoff_width={self.cutoff_width} Å is wider than cutoff={self.cutoff} Å; "
                "give a width between 0 and the cutoff"
            )
        as_cutoff_function("cutoff_function", self.cutoff_function)
        as_choice("radial", self.radial, RADIAL_BASES)
        _require_read("gaussian_width", self.gaussian_width, self.radial, SMEARED_BASES)
        _require_read("radial_range", self.radial_range, self.radial, SHELL_BASES)
        if self.gaussian_width is not None:
            settle(self, gaussian_width=as_positive("gaussian_width", self.gaussian_width, "Å"))
            if self.gaussian_width > self.cutoff:
                raise InputError(
                    f"gaussian_width={self.gaussian_width} Å is wider than "
                    f"cutoff={self.cutoff} Å; smear by less than the cutoff"
                )
        if self.radial_scaling is not None:
            settle(self, radial_scaling=_as_scaling("radial_scaling", self.radial_scaling))
        if self.radial_range is not None:
            settle(self, radial_range=_as_range("radial_range", self.radial_range))
            if self.radial == "logarithmic" and self.radial_range[0] == 0:
                raise InputError("invalid radial_range: radial='logarithmic' needs low > 0")

    @property
    def n_harmonics(self) -> int:
        """(l_max + 1)², the number of pairs (l, m)."""
        return (self.l_max + 1) ** 2


@jax.tree_util.register_static
@dataclass(frozen=True, kw_only=True)
class Hypers(Basis):
    """All hyperparameters of all descriptors with their defaults, including those of the basis."""

    tags: int | None = setting(
        None,
        "number of nearest neighbours to tag, including the complete shell of the last one",
        none="all",
    )
    n_features: int = setting(2048, "columns of level 2 of the fingerprint")
    length_scale: float = setting(
        1.5, "width of the Gaussian kernel between triplets", "units of the basis"
    )
    seed: int = setting(0, "seed of the fingerprint's random directions, and of an audit's choices")
    chiral: bool = setting(
        False, "distinguish mirror images: add the columns that change sign under inversion"
    )
    form: str = setting("edge", "form of the minimal triplet invariants", choices=TRIPLET_FORMS)
    coupling: str = setting("minimal", "basis of kind triplets", choices=COUPLINGS)
    nu: int = setting(3, "order of kind correlations; 4 and more need a contraction")
    center_species: bool = setting(False, "one block of columns for each species of the centre")
    center_weight: float = setting(
        0.0, "weight of the central atom itself in the density; featomic and DScribe have 1"
    )

    def __post_init__(self):
        super().__post_init__()
        settle(
            self,
            tags=None if self.tags is None else as_integer("tags", self.tags, 1, 1000),
            n_features=as_integer("n_features", self.n_features, 1, 1_000_000),
            length_scale=as_positive("length_scale", self.length_scale, "units of the basis"),
            seed=as_integer("seed", self.seed, 0, 2**63),
            nu=as_integer("nu", self.nu, 1, NU_LIMIT),
            center_weight=as_number("center_weight", self.center_weight, low=0),
        )
        for name in ("chiral", "center_species"):
            as_choice(name, getattr(self, name), (False, True))
            settle(self, **{name: bool(getattr(self, name))})
        as_choice("form", self.form, TRIPLET_FORMS)
        as_choice("coupling", self.coupling, COUPLINGS)

    @property
    def basis(self) -> Basis:
        """Only the density expansion: equal for descriptors that share it."""
        return Basis(**{field.name: getattr(self, field.name) for field in fields(Basis)})

    @classmethod
    def from_keywords(cls, **keywords: Any) -> "Hypers":
        """Check the names too: a misspelt name raises InputError with the nearest match."""
        require_names(keywords, [field.name for field in fields(cls)], "hyperparameter")
        return cls(**keywords)


def _require_read(name: str, value: Any, radial: str, bases: tuple[str, ...]) -> None:
    if value is not None and radial not in bases:
        raise InputError(
            f"invalid {name}={value!r}: radial={radial!r} does not read it; it is for radial="
            f"{' or '.join(map(repr, bases))}"
        )


def _as_scaling(name: str, value: Any) -> tuple[float, float, float]:
    given = _as_tuple(value)
    if not (len(given) == 3 and all(is_finite(number) and number > 0 for number in given)):
        raise InputError(
            f"invalid {name}={value!r}: expected (rate, scale in Å, exponent), three positive "
            "numbers"
        )
    return float(given[0]), float(given[1]), float(given[2])


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else ()


def _as_range(name: str, value: Any) -> tuple[float, float]:
    pair = _as_tuple(value)
    numbers = len(pair) == 2 and all(map(is_finite, pair))
    if not (numbers and 0 <= pair[0] < pair[1]):
        raise InputError(f"invalid {name}={value!r}: expected (low, high) in Å, 0 <= low < high")
    return float(pair[0]), float(pair[1])
