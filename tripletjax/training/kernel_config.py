"""Settings of a fit of a kernel potential, without JAX."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tripletjax.checks import (
    CUTOFF_FUNCTIONS,
    RADIAL_BASES,
    as_choice,
    as_integer,
    as_name,
    as_number,
    as_positive,
    settle,
)
from tripletjax.settings import Settings, as_yaml, setting
from tripletjax.training.config import LABEL_KEYS, FitOptions, TrainConfig
from tripletjax.training.references import as_references

KERNEL = "kernel"
KINDS = ("power_spectrum", "bispectrum", "fingerprint")
KERNELS = ("gaussian", "polynomial")
METHODS = ("sparse", "full", "iterative")
LENGTH_SCALE = 4.0  # at which the search begins
CUTOFFS = (5.0, 4.0, 6.0, 7.0)  # Å; in sparse fits the first is where a search begins


@dataclass(frozen=True, kw_only=True)
class KernelConfig(Settings):
    """Everything that decides the result of a fit of a kernel potential, apart from the data.

    Example:
        >>> KernelConfig(cutoff=4).fall(4.0)
        2.0
    """

    cutoff: float | None = setting(
        None, "atoms strictly inside are neighbours", "Å",
        none=f"{CUTOFFS[0]:g}, or from {min(CUTOFFS):g} to {max(CUTOFFS):g} in a tuned "
        "sparse fit of power spectra",
    )  # fmt: skip
    cutoff_function: str | Callable[..., Any] = setting(
        "smooth", "cutoff function of the density", choices=CUTOFF_FUNCTIONS
    )
    cutoff_width: float | None = setting(
        None, "the cutoff function falls over this length below the cutoff", "Å",
        none="half of the cutoff",
    )  # fmt: skip
    descriptor: str = setting("power_spectrum", "kind of the descriptor", choices=KINDS)
    radial: str = setting("logarithmic", "radial functions of the density", choices=RADIAL_BASES)
    n_max: int = setting(10, "number of radial functions")
    l_max: int = setting(5, "highest degree of the harmonics, inclusive")
    triplets: int = setting(
        0, "features of the triplets, 2000 for example, whose kernel is added to that of the "
        "descriptor: lower errors, slower in use",
    )  # fmt: skip
    scaling_distance: float = setting(
        1.5, "r0 of the weights 1 / (1 + (r/r0)^m) of neighbours in the density", "Å"
    )
    scaling_exponent: float = setting(2.0, "m of these weights; 0: all neighbours weigh the same")
    tune: bool = setting(
        True, "choose weights of the species in the density by gradients of the evidence, and the "
        "length scale if it is not given; in sparse fits of 20 structures or more also the "
        "cutoff, and whether a bispectrum is added, by errors on other structures",
    )  # fmt: skip
    kernel: str = setting("gaussian", "kernel between environments", choices=KERNELS)
    length_scale: float | None = setting(
        None, "of the gaussian kernel, in units of the median distance between environments",
        none="by the evidence, or 4 without tuning",
    )  # fmt: skip
    degree: int = setting(2, "of the polynomial kernel")
    method: str | None = setting(
        None, "a full Gaussian process, with all pairs of labels in memory or by conjugate "
        "gradients (iterative), or a sparse one in some of the environments",
        choices=METHODS, none="sparse for more than 30000 labels of periodic structures; otherwise "
        "full if it fits in memory, and iterative if not",
    )  # fmt: skip
    n_inducing: int = setting(2000, "inducing environments of each species in a sparse process")
    energy_noise: float | None = setting(
        None, "noise of the energies, for one atom", "eV", none="by the evidence"
    )
    forces_noise: float | None = setting(
        None, "noise of the forces", "eV/Å", none="by the evidence"
    )
    stress_noise: float | None = setting(
        None, "noise of the stress", "eV/Å³", none="by the evidence"
    )
    reference_energies: Mapping[str, float] | str | None = setting(
        None, "energies of single atoms, such as H=-13.6,O=-432, or isolated: those of the "
        "structures of one atom", "eV", none="fitted by least squares",
    )  # fmt: skip
    seed: int = setting(0, "seed of the validation split")

    energy_key: str | None = setting(None, "name of the energies in files", none="ASE's")
    forces_key: str | None = setting(None, "name of the forces in files", none="ASE's")
    stress_key: str | None = setting(None, "name of the stress in files", none="ASE's")
    virial_key: str | None = setting(
        None, "name of the virials in files (eV); stress = -virial/volume", none="none"
    )

    @property
    def cutoffs(self) -> tuple[float, ...]:
        """Å, of which a fit chooses one; the first if it does not."""
        if self.cutoff is not None:
            return (self.cutoff,)
        is_chosen = self.tune and self.kernel == "gaussian" and self.descriptor == "power_spectrum"
        return CUTOFFS if is_chosen else CUTOFFS[:1]

    def fall(self, cutoff: float) -> float:
        """Å, over which the cutoff function falls."""
        return 0.5 * cutoff if self.cutoff_width is None else self.cutoff_width

    def __post_init__(self):
        if self.cutoff is not None:
            settle(self, cutoff=as_positive("cutoff", self.cutoff, "Å"))
        cutoff = min(self.cutoffs)
        settle(self, seed=as_integer("seed", self.seed))
        settle(self, reference_energies=as_references(self.reference_energies))
        choices_of = {"descriptor": KINDS, "kernel": KERNELS, "radial": RADIAL_BASES}
        for name, choices in choices_of.items():
            as_choice(name, getattr(self, name), choices)
        if self.method is not None:
            as_choice("method", self.method, METHODS)
        if self.cutoff_width is not None:
            width = as_number("cutoff_width", self.cutoff_width, low=0, high=cutoff, unit="Å")
            settle(self, cutoff_width=width)
        distance = as_positive("scaling_distance", self.scaling_distance, "Å")
        exponent = as_number("scaling_exponent", self.scaling_exponent, low=0)
        settle(self, scaling_distance=distance, scaling_exponent=exponent)
        for name in ("n_max", "degree", "n_inducing"):
            settle(self, **{name: as_integer(name, getattr(self, name), 1)})
        settle(self, l_max=as_integer("l_max", self.l_max, 0, 12))
        settle(self, triplets=as_integer("triplets", self.triplets, 0, 1_000_000))
        units = {"energy_noise": "eV", "forces_noise": "eV/Å", "stress_noise": "eV/Å³"}
        for name, unit in (units | {"length_scale": "units of the vectors"}).items():
            if getattr(self, name) is not None:
                settle(self, **{name: as_positive(name, getattr(self, name), unit)})
        for name in LABEL_KEYS:
            if getattr(self, name) is not None:
                as_name(name, getattr(self, name))


def defaults_of(model: Any) -> Any:
    """The settings of fits of a model by its name, with their defaults."""
    return KernelConfig() if model == KERNEL else TrainConfig()


def kernel_settings_text(config: KernelConfig) -> str:
    """A settings file for ``tripletjax train --config``."""
    model = [entry for entry in FitOptions.entries() if entry.name == "model"]
    title = "Settings of tripletjax train, which reads them with --config."
    groups = {"The fit": [*model, *config.entries()]}
    return as_yaml(groups, config.flat() | {"model": KERNEL}, title)
