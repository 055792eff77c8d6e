"""Potentials in jax-md: the energies and forces of the ASE calculator, and never silently wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

from tripletjax import InputError
from tripletjax.calculator import TripletCalculator
from tripletjax.md import neighbor_list
from tripletjax.models import Architecture
from tripletjax.potential import untrained

SIZES = Architecture(cutoff=3.0, n_radial=3, l_max=2, channels=2, units=4, odd_units=2, width=4)


@pytest.fixture(scope="module")
def space():
    """jax-md takes seconds to import; its own warnings are not ours."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("jax_md").space


def shaken(atoms, seed=0):
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=seed)
    return atoms


def triclinic():
    """64 atoms in a skewed cell whose vectors are not along the axes as jax-md needs them."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)
    shear = np.array([[1, 0, 0], [0.15, 1.02, 0], [-0.1, 0.05, 0.98]])
    atoms.set_cell(atoms.cell @ shear, scale_atoms=True)
    return shaken(atoms)


SYSTEMS = {
    "molecule": shaken(molecule("CH3CH2OH")),
    "silicon": shaken(bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)),
    "triclinic": triclinic(),
    "slab": shaken(fcc111("Al", (3, 3, 3), vacuum=5.0, periodic=True, orthogonal=False)),
}


def potential_of(atoms):
    return untrained(np.unique(atoms.numbers), SIZES, references=None, scale=0.3, seed=1)


def by_ase(atoms):
    atoms = atoms.copy()
    atoms.calc = TripletCalculator(potential_of(atoms), dtype="float64")
    return atoms.get_potential_energy(), atoms.get_forces()


def upper(atoms):
    """jax-md's box: lattice vectors as columns, upper triangular; and positions turned alike."""
    q, r = np.linalg.qr(atoms.cell.array.T)
    signs = np.sign(np.diag(r))
    return (signs[:, None] * r), atoms.positions @ (q * signs), q * signs


def compile_for(space, atoms, fractional=True):
    """Energy of positions, the positions, and how to turn forces back."""
    potential = potential_of(atoms)
    if not atoms.pbc.any():
        displacement, _ = space.free()
        return displacement, None, jnp.asarray(atoms.positions), np.eye(3), potential
    box, positions, turn = upper(atoms)
    displacement, _ = space.periodic_general(box, fractional_coordinates=fractional)
    scaled = np.linalg.solve(box, positions.T).T % 1.0
    at = scaled if fractional else scaled @ box.T
    return displacement, jnp.asarray(box), jnp.asarray(at), turn, potential


@pytest.mark.parametrize("name, fractional", [
    ("molecule", False), ("silicon", True), ("silicon", False), ("triclinic", True),
    ("triclinic", False), ("slab", True),
])  # fmt: skip
def test_energy_and_forces_are_those_of_ase(name, fractional, space, float32):
    atoms = SYSTEMS[name]
    with jax.enable_x64(True):
        displacement, box, at, turn, potential = compile_for(space, atoms, fractional)
        neighbor_fn, init_fn, energy_fn = neighbor_list(
            displacement, box, potential, atoms.numbers,
            dr_threshold=0.3, fractional_coordinates=fractional and box is not None,
        )  # fmt: skip
        neighbor = neighbor_fn.allocate(at)
        params = init_fn(None, at, neighbor)
        energy, slopes = jax.jit(jax.value_and_grad(energy_fn, 1))(params, at, neighbor)
        # jax-md gives slopes in Å, by fractional coordinates too.
    expected, forces = by_ase(atoms)
    assert float(energy) == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(-np.asarray(slopes) @ turn.T, forces, atol=1e-8)


def periodic(space, atoms, dr_threshold=0.3):
    displacement, box, at, _, potential = compile_for(space, atoms)
    made = neighbor_list(
        displacement, box, potential, atoms.numbers,
        dr_threshold=dr_threshold, fractional_coordinates=True,
    )  # fmt: skip
    return box, at, made


def test_a_new_box_and_a_perturbation_are_forwarded(space, float32):
    """The strained energy of ASE, by either of jax-md's ways to strain."""
    atoms = SYSTEMS["silicon"]
    strain = np.array([[1.02, 0.01, 0.0], [0.0, 0.99, 0.02], [0.0, 0.0, 1.01]])
    strained = atoms.copy()
    strained.set_cell(atoms.cell @ strain.T, scale_atoms=True)
    expected, _ = by_ase(strained)
    with jax.enable_x64(True):
        box, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms)
        neighbor = neighbor_fn.allocate(at, box=strain @ box)
        params = init_fn(None, at, neighbor)
        by_box = jax.jit(energy_fn)(params, at, neighbor, box=strain @ box)
        by_perturbation = jax.jit(energy_fn)(params, at, neighbor, perturbation=jnp.asarray(strain))
    assert float(by_box) == pytest.approx(expected, abs=1e-9)
    assert float(by_perturbation) == pytest.approx(expected, abs=1e-9)


def test_small_boxes_are_refused(space, float32):
    """Two images of one neighbour within the cutoff: jax-md would see one of them."""
    atoms = shaken(bulk("Si", "diamond", a=5.43, cubic=True))
    with pytest.raises(InputError, match="nearest image"):
        periodic(space, atoms)
    with jax.enable_x64(True):
        box, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, SYSTEMS["silicon"])
        neighbor = neighbor_fn.allocate(at)
        with pytest.raises(InputError, match="nearest image"):
            neighbor_fn.allocate(at, box=0.5 * box)
        params = init_fn(None, at, neighbor)
        shrunk = jax.jit(energy_fn)(params, at, neighbor, box=0.5 * box)
        assert np.isnan(float(shrunk))


def test_too_many_neighbours_are_flagged(space, float32):
    """The list of a dilute structure overflows in a dense one, until it is made anew."""
    atoms = SYSTEMS["silicon"]
    with jax.enable_x64(True):
        _, at, (neighbor_fn, _, _) = periodic(space, atoms)
        neighbor = neighbor_fn.allocate(at)
        crowded = at.at[:30].multiply(0.4)
        updated = neighbor.update(crowded)
        assert bool(updated.did_buffer_overflow)
        assert bool(updated.update(at).did_buffer_overflow), "the flag stays"
        assert not bool(neighbor_fn.allocate(crowded).did_buffer_overflow)


def test_unknown_species(space, float32):
    displacement, _ = space.free()
    with pytest.raises(InputError, match="atomic number 8"):
        neighbor_list(displacement, None, untrained([1], SIZES), [1, 1, 8])


def test_dynamics_of_jax_md_conserve_energy(space, float32):
    from jax_md import simulate

    atoms = SYSTEMS["silicon"]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        box, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms, dr_threshold=0.5)
        _, shift = space.periodic_general(box, fractional_coordinates=True)
        neighbor = neighbor_fn.allocate(at)
        params = init_fn(None, at, neighbor)

        def energy(position, neighbor, **kwargs):
            return energy_fn(params, position, neighbor, **kwargs)

        begin, step = simulate.nve(energy, shift, 0.01)
        state = begin(jax.random.key(0), at, 0.02, mass=28.0, neighbor=neighbor)

        def total(state):
            return energy(state.position, neighbor) + simulate.kinetic_energy(state)

        @jax.jit
        def go_on(state, neighbor):
            def body(_, carry):
                state, neighbor = carry
                state = step(state, neighbor=neighbor)
                return state, neighbor.update(state.position)

            return jax.lax.fori_loop(0, 50, body, (state, neighbor))

        before = float(total(state))
        state, neighbor = go_on(state, neighbor)
        assert not bool(neighbor.did_buffer_overflow)
        assert abs(float(total(state)) - before) < 1e-5
        assert float(simulate.kinetic_energy(state)) > 0.1
