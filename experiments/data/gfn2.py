"""Sample structures and label them with GFN2-xTB. Needs the package ``tblite``.

python -m experiments.data.gfn2 ethanol
python -m experiments.data.gfn2 molecules
python -m experiments.data.gfn2 water
"""

import json
from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from scipy.spatial.transform import Rotation
from tblite import library
from tblite.ase import TBLite
from tblite.interface import Calculator

from experiments.data.dynamics import trajectory
from experiments.data.flexible_water import FlexibleWater, water_box
from experiments.data.parts import DECIMALS, frame_text, main, rounded

ACCURACY = 1e-3  # of the self-consistent field; tblite's own is 1
FIELD = 1e-3  # a.u., 0.051 V/Å: alpha changes by less than 1e-4 Å³ when it is halved

WATER_VOLUME = 29.9  # Å³ a molecule, at 1 g/cm³
MOLECULES = (
    "H2 N2 CO CO2 N2O H2O NH3 CH4 HCN H2CO H2O2 N2H4 C2H2 C2H4 C2H6 CH3OH CH3CN H3CNH2 HCOOH H2CCO "
    "NCCN CH2OCH2 OCHCHO CH3CHO CH3CH2OH CH3OCH3 CH3NO2 C3H4_C3v C3H6_Cs C3H6_D3h C3H8 CH3COOH "
    "HCOOCH3 CH3CONH2 CH3COCH3 C2H6NH C4H4O C4H4NH C5H5N C6H6"
).split()


def label(atoms: Atoms, field: Sequence[float] | None = None) -> dict:
    """GFN2-xTB labels: energy eV, forces eV/Å, dipole e·Å; stress eV/Å³ if periodic.

    Args:
        atoms: the structure.
        field: uniform electric field in a.u.
    """
    periodic = atoms.pbc.any()
    cell = {"lattice": atoms.cell.array / units.Bohr, "periodic": atoms.pbc} if periodic else {}
    calculator = Calculator("GFN2-xTB", atoms.numbers, atoms.positions / units.Bohr, **cell)
    calculator.set("verbosity", 0)
    calculator.set("accuracy", ACCURACY)
    if field is not None:
        # the interface of tblite 0.8.0 hands the argument to C as it is
        pointer = library.ffi.new("double[3]", [float(f) for f in field])
        calculator.add("electric-field", pointer)
    result = calculator.singlepoint()
    labels = {
        "energy": result.get("energy") * units.Hartree,
        "forces": -result.get("gradient") * units.Hartree / units.Bohr,
    }
    if periodic:
        labels["stress"] = result.get("virial") * units.Hartree / atoms.get_volume()
    else:
        labels["dipole"] = result.get("dipole") * units.Bohr
    return labels


def polarizability(atoms: Atoms) -> np.ndarray:
    """α_jk = ∂μ_j/∂F_k in Å³, [3, 3], by central differences in the field, made symmetric."""
    steps = FIELD * np.eye(3)
    change = [label(atoms, f)["dipole"] - label(atoms, -f)["dipole"] for f in steps]
    alpha = np.array(change) / units.Bohr / (2 * FIELD) * units.Bohr**3
    return (alpha + alpha.T) / 2


def labelled(atoms: Atoms, with_polarizability: bool = False) -> str:
    """One frame of extended xyz, positions rounded before they are labelled."""
    atoms = rounded(atoms)
    labels = label(atoms)
    if with_polarizability:
        # ASE's readers leave nine numbers flat, but take a matrix as JSON
        matrix = (polarizability(atoms).round(DECIMALS) + 0.0).tolist()
        labels["polarizability"] = "_JSON " + json.dumps(matrix)
    return frame_text(atoms, labels)


def turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """The molecule with its centre of mass at the origin, turned at random."""
    atoms = atoms.copy()
    centred = atoms.positions - atoms.get_center_of_mass()
    atoms.positions = centred @ Rotation.random(random_state=rng).as_matrix()
    return atoms


def gfn2() -> TBLite:
    """The calculator that drives trajectories."""
    return TBLite(method="GFN2-xTB", verbosity=0)


def ethanol(part: int) -> str:
    """50 frames, 50 fs apart, of one of 8 trajectories at 500 K."""
    seed = 1000 + part
    start = turned(molecule("CH3CH2OH"), np.random.default_rng(seed))
    frames = trajectory(start, gfn2(), 500.0, seed, equilibrate=2000, every=100, frames=50)
    return "".join(labelled(frame) for frame in frames)


def molecules(part: int) -> str:
    """One molecule: as tabulated, then 4 frames each at 300 K and at 600 K, 50 fs apart."""
    seed, name = 2000 + part, MOLECULES[part]
    rng = np.random.default_rng(seed)
    frames = [molecule(name)]
    for temperature in (300.0, 600.0):
        drawn = int(rng.integers(2**31))
        run = {"equilibrate": 500, "every": 100, "frames": 4, "friction": 0.02}
        frames += trajectory(molecule(name), gfn2(), temperature, drawn, **run)
    for frame, temperature in zip(frames, [0] + 4 * [300] + 4 * [600], strict=True):
        frame.info = {"name": name, "temperature": str(temperature)}
    return "".join(labelled(turned(frame, rng), True) for frame in frames)


def water(part: int) -> str:
    """6 frames, 250 fs apart, of 16 molecules in a cube, at one of 10 volumes and 400 K.

    The structures are those of a force field; only their labels are GFN2-xTB.
    """
    seed = 3000 + part
    volume = WATER_VOLUME * (0.9 + 0.2 * part / 9)
    start = water_box(volume, np.random.default_rng(seed))
    run = {"equilibrate": 4000, "every": 500, "frames": 6}
    frames = trajectory(start, FlexibleWater(), 400.0, seed, **run)
    return "".join(labelled(frame) for frame in frames)


SETS = {
    "ethanol": (ethanol, 8),
    "molecules": (molecules, len(MOLECULES)),
    "water": (water, 10),
}


if __name__ == "__main__":
    main(__doc__, "gfn2", SETS)
