"""The calculator behind the socket of i-PI, with ASE's server in place of i-PI."""

import os
from threading import Thread

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.socketio import SocketClient, SocketIOCalculator

from tripletjax.calculator import TripletCalculator
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import untrained

pytestmark = pytest.mark.once("float64")

SMALL = Architecture(cutoff=3.0, units=4, width=8, n_radial=4, l_max=2, channels=4, messages=0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ASE's open sockets
def test_energy_forces_and_stress_through_the_socket():
    """Equal to those without it, for a cell that changes."""
    potential = untrained([14], SMALL, references=(-5.0,), seed=1)
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=0)
    address = f"tripletjax-{os.getpid()}"  # /tmp/ipi_ADDRESS
    served = atoms.copy()
    served.calc = TripletCalculator(potential, dtype="float64")
    server = SocketIOCalculator(unixsocket=address, timeout=60)

    def serve():
        client = SocketClient(unixsocket=address)
        client.run(served, use_stress=True)
        client.close()

    client = Thread(target=serve)
    with server:
        client.start()
        atoms.calc = server
        for scale in (1.0, 1.02):
            atoms.set_cell(atoms.cell * scale, scale_atoms=True)
            direct = atoms.copy()
            direct.calc = TripletCalculator(potential, dtype="float64")
            assert atoms.get_potential_energy() == pytest.approx(direct.get_potential_energy())
            np.testing.assert_allclose(atoms.get_forces(), direct.get_forces(), atol=1e-12)
            np.testing.assert_allclose(atoms.get_stress(), direct.get_stress(), atol=1e-12)
    client.join(60)
    assert not client.is_alive()
