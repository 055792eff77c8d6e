"""A cheap force field of liquid water from which structures are drawn: TIP3P, made flexible."""

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.tip3p import epsilon0, qH, sigma0
from ase.units import Bohr, Hartree
from scipy.spatial.transform import Rotation

BOND, ANGLE = 0.959213, np.deg2rad(107.225)  # Å, rad: those of one molecule in GFN2-xTB
BOND_STIFFNESS, ANGLE_STIFFNESS = 45.93, 3.29  # eV/Å², eV/rad²: those of the model SPC/Fw
CHARGES = qH * np.array([-2.0, 1.0, 1.0])
COULOMB = np.outer(CHARGES, CHARGES) * Hartree * Bohr  # eV Å
FALL = 0.5  # Å, over which the interaction of two molecules falls to zero


class FlexibleWater(Calculator):
    """TIP3P between molecules and ½ k (r - r₀)², ½ k (θ - θ₀)² within; atoms in the order OHH.

    Molecules interact up to an O-O distance of half the cell, which must be a cube.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy", "forces"), system_changes=all_changes):
        """Energy and forces, as ASE asks for them."""
        super().calculate(atoms, properties, system_changes)
        positions = self.atoms.positions.reshape(-1, 3, 3)  # [molecule, atom, xyz]
        pairs, on_atoms = _between(positions, self.atoms.cell.lengths()[0])
        bonded, on_bonded = _within(positions)
        forces = (on_atoms + on_bonded).reshape(-1, 3)
        self.results = {"energy": pairs + bonded, "forces": forces}


def _between(positions, side):
    """Lennard-Jones of the oxygens and Coulomb of all atoms, times one step of O-O distance."""
    first, second = np.triu_indices(len(positions), k=1)
    oxygens = positions[second, 0] - positions[first, 0]
    shift = -side * np.round(oxygens / side)
    oxygens = oxygens + shift
    d = np.linalg.norm(oxygens, axis=-1)
    x = np.clip((d - side / 2 + FALL) / FALL, 0, 1)
    step, slope = 1 - x**2 * (3 - 2 * x), -6 * x * (1 - x) / FALL
    sixth = (sigma0 / d) ** 6
    lennard_jones = 4 * epsilon0 * (sixth**2 - sixth)
    vectors = positions[second][:, None] - positions[first][:, :, None] + shift[:, None, None]
    r = np.linalg.norm(vectors, axis=-1)  # [pair, atom, atom]
    coulomb = COULOMB / r
    total = lennard_jones + coulomb.sum((1, 2))
    on_oxygens = 24 * epsilon0 * (2 * sixth**2 - sixth) / d**2 * step - total * slope / d
    on_pairs = (coulomb / r**2 * step[:, None, None])[..., None] * vectors  # on the second atom
    forces = np.zeros_like(positions)
    np.add.at(forces, second, on_pairs.sum(1))
    np.add.at(forces, first, -on_pairs.sum(2))
    np.add.at(forces[:, 0], second, on_oxygens[:, None] * oxygens)
    np.add.at(forces[:, 0], first, -on_oxygens[:, None] * oxygens)
    return np.dot(step, total), forces


def _within(positions):
    """Springs of the bonds and of the angle."""
    bonds = positions[:, 1:] - positions[:, :1]  # [molecule, 2, 3]
    r = np.linalg.norm(bonds, axis=-1)
    u = bonds / r[..., None]
    cosine = np.sum(u[:, 0] * u[:, 1], -1)
    angle = np.arccos(cosine)
    stretch, bend = r - BOND, angle - ANGLE
    # dθ/db_1 = (u_1 cos θ - u_2) / (r_1 sin θ), and the same with 1 and 2 exchanged
    slopes = (u * cosine[:, None, None] - u[:, ::-1]) / (r * np.sin(angle)[:, None])[..., None]
    on_hydrogens = -BOND_STIFFNESS * stretch[..., None] * u
    on_hydrogens -= ANGLE_STIFFNESS * bend[:, None, None] * slopes
    forces = np.concatenate([-on_hydrogens.sum(1, keepdims=True), on_hydrogens], axis=1)
    energy = (BOND_STIFFNESS * (stretch**2).sum() + ANGLE_STIFFNESS * (bend**2).sum()) / 2
    return energy, forces


def water_box(volume: float, rng: np.random.Generator) -> Atoms:
    """16 molecules at the sites of a body-centred lattice, turned at random.

    Args:
        volume: of one molecule, Å³.
        rng: draws the rotations.
    """
    side = (16 * volume) ** (1 / 3)
    corners = np.stack(np.meshgrid(*[[0.0, 0.5]] * 3, indexing="ij"), -1).reshape(-1, 3)
    atoms = Atoms(cell=[side] * 3, pbc=True)
    for site in np.concatenate([corners, corners + 0.25]):
        one = molecule("H2O")
        turn = Rotation.random(random_state=rng).as_matrix()
        one.positions = (one.positions - one.positions[0]) @ turn + site * side
        atoms += one
    return atoms
