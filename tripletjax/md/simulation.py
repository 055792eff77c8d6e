"""The entrance to simulations: checks the start, the settings and the folder, and runs."""

import logging
import warnings
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from tripletjax.io import require_unused
from tripletjax.md.checking import check_overlap, check_start
from tripletjax.md.config import MDConfig, MDOptions, settings_text
from tripletjax.md.driver import Run
from tripletjax.md.ensembles import EnsembleMaker, ensemble_of
from tripletjax.md.files import RESTART, killed_at_once, save_settings
from tripletjax.md.setup import Setup
from tripletjax.md.starts import start_of, writable
from tripletjax.potentials.base import Potential
from tripletjax.potentials.checks import require_potential
from tripletjax.potentials.precision import computing_in, precision_of
from tripletjax.types import InputError

log = logging.getLogger(__name__)


def simulate(
    model: Potential,
    atoms: Atoms,
    folder: str | Path,
    config: MDConfig | None = None,
    *,
    ensemble: EnsembleMaker | None = None,
    resume: bool = False,
    force: bool = False,
    show: bool = True,
    dtype=None,
    uncertainty: bool | None = None,
    velocity_unit: str | None = None,
    origin: Atoms | None = None,
    options: MDOptions | None = None,
    restart: bool | None = None,
) -> Atoms:
    """Run molecular dynamics and write it to a folder.

    The folder gets ``thermo.csv``, ``trajectory.xyz`` (with momenta, energies and forces),
    ``final.xyz``, ``md.json``, ``settings.yaml`` and the state from which ``resume`` goes on.
    Frames have everything else that ``atoms`` has, but for its labels; their positions are not
    wrapped.

    Args:
        model: the potential.
        atoms: to start from; its masses and its momenta, or columns of velocities, are used if it
            has any (see ``md.starts``); else the momenta are drawn.
        folder: to write; must be unused, unless ``resume`` or ``force`` is given.
        config: settings; None: the defaults.
        ensemble: one of your own, in place of those that ``config`` names: a function ``(force,
            masses, timestep)`` without a closure, or a frozen dataclass with such a ``__call__``,
            that returns an ``md.integrators.Ensemble``.
        resume: go on from the state in the folder, if there is one.
        force: replace an earlier run in the folder; other files in it stay.
        show: a progress bar.
        dtype: float32 or float64; None: that of the model, if it has one, or JAX's default float.
        uncertainty: write standard deviations to ``thermo.csv``; None: if the potential has any.
        velocity_unit: of columns of velocities: "angstrom/fs", "angstrom/ps", "atomic" or "ase";
            None: Å/fs, unless that is hotter than 5000 K.
        origin: the structure that ``atoms`` was minimised from, which ``resume`` compares; None:
            ``atoms``.
        options: what was done beforehand, for ``settings.yaml``.
        restart: the former name of ``resume``, until release 0.3.

    Returns:
        The last frame.

    Raises:
        InputError: a setting, structure or folder that cannot be used.
        SimulationError: the simulation blew up; the state before is in the folder.

    Example:
        >>> import tempfile
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> sizes = Architecture(cutoff=3.0, l_max=1, n_radial=2, channels=2, units=4, width=4)
        >>> hydrogen = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
        >>> config = MDConfig(steps=2, timestep=0.1, log_every=1, write_every=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = untrained([1], sizes, scale=0.01)
        ...     final = simulate(model, hydrogen, f"{folder}/run", config, show=False)
        >>> final.info["step"]
        2
    """
    require_potential(model)
    folder, config = Path(folder), config or MDConfig()
    if restart is not None:
        resume = restart
        warnings.warn(
            "restart= is now resume=; the old name will be removed in release 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
    if resume and force:
        raise InputError("resume goes on with a run, force replaces it; give one of them")
    maker = ensemble_of(config, ensemble, options.minimised if options is not None else ())
    atoms = writable(start_of(atoms, velocity_unit))
    model.require_known([atoms])
    setup = Setup(
        potential=model, atoms=atoms, origin=origin or atoms, config=config, maker=maker,
        is_named=ensemble is None, dtype=precision_of(model, dtype),
        uncertainty=_writes_deviations(model, config, uncertainty),
    )  # fmt: skip
    with computing_in(setup.dtype):
        check_start(atoms, setup.ensemble)
        resumes = resume and (folder / RESTART).is_file()
        if not resumes:
            check_overlap(atoms)
            require_unused(folder, force or (resume and killed_at_once(folder)))
        run = Run(setup, folder)
        log.info("compiling, with %d columns of neighbours", run.motion.lists.width)
        with run.output:
            sure = run.resume() if resumes else run.open()
            if setup.is_named:  # settings.yaml cannot hold an ensemble of one's own
                is_double = setup.dtype == "float64"
                done = replace(options or MDOptions(), uncertainty=setup.uncertainty, x64=is_double)
                save_settings(folder, settings_text(config, done))
            return run.run(show, sure)


def _writes_deviations(model: Potential, config: MDConfig, uncertainty: bool | None) -> bool:
    """Whether standard deviations are written; InputError where they are asked for in vain."""
    wanted = model.has_deviations if uncertainty is None else uncertainty
    wanted = wanted or config.max_force_std is not None
    if wanted and not model.has_deviations:
        raise InputError(
            "the potential has no uncertainty, which max_force_std and uncertainty need; give a "
            "committee or a Gaussian process"
        )
    return wanted
