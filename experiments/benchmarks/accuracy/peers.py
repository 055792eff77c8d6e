"""The programs that tripletjax is compared with, each run by the Python of its own environment."""

import argparse
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from tripletjax.potentials.architecture import SIZES
from tripletjax.types import InputError

HERE = Path(__file__).parent
INSTALL = """
Each PYTHON is the interpreter of an environment with the program, made by one of

    python3 -m venv apax-env && apax-env/bin/pip install apax==0.14.0 jax==0.10.1 jaxlib==0.10.1
    python3 -m venv mace-env && mace-env/bin/pip install mace-torch==0.3.16 torch==2.13.0
    python3 -m venv nequip-env && nequip-env/bin/pip install nequip==0.19.1 torch==2.13.0
"""


class Peer(NamedTuple):
    """How a program is run."""

    package: str  # the option that gives its interpreter
    script: str
    size: tuple[str, ...] = ()  # last argument of the script


PEERS = {
    "apax": Peer("apax", "apax_fit.py"),
    "mace-small": Peer("mace", "mace_fit.py", ("small",)),
    "mace-large": Peer("mace", "mace_fit.py", ("large",)),
    "nequip-small": Peer("nequip", "nequip_fit.py", ("small",)),
    "nequip-large": Peer("nequip", "nequip_fit.py", ("large",)),
}
OWN = {f"tripletjax-{size}": size for size in SIZES}  # sizes of the network, by name
OURS = "tripletjax-medium"  # the default
PACKAGES = tuple(dict.fromkeys(peer.package for peer in PEERS.values()))


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    """Options for the interpreters, and for which of the models to run."""
    for package in PACKAGES:
        parser.add_argument(f"--{package}", metavar="PYTHON", help=f"interpreter with {package}")
    parser.add_argument(
        "--sizes", nargs="+", choices=SIZES, default=["medium"],
        help="of tripletjax (default: medium)",
    )  # fmt: skip
    parser.add_argument(
        "--peers", nargs="+", choices=PEERS, help="only these (default: all with an interpreter)"
    )


def chosen_peers(arguments: argparse.Namespace) -> dict[str, str]:
    """Names of the peers to run, with their interpreters.

    Raises:
        InputError: no interpreter is given, or one does not exist or is needed and missing.
    """
    given = {package: getattr(arguments, package) for package in PACKAGES}
    options = ", ".join(f"--{package}" for package in PACKAGES)
    if not any(given.values()) and arguments.sizes == ["medium"]:
        raise InputError(f"nothing to compare with; give --sizes, or at least one of {options}")
    for package, python in given.items():
        if python and shutil.which(python) is None:
            raise InputError(f"--{package} {python} is not an executable file")
    names = arguments.peers or [name for name, peer in PEERS.items() if given[peer.package]]
    for name in names:
        if not given[PEERS[name].package]:
            raise InputError(f"{name} needs --{PEERS[name].package} PYTHON")
    return {name: str(Path(given[PEERS[name].package]).absolute()) for name in names}


def own_names(arguments: argparse.Namespace) -> list[str]:
    """Names of the chosen sizes of tripletjax."""
    return [name for name, size in OWN.items() if size in arguments.sizes]


def peer_command(name: str, python: str, *arguments: str) -> list[str]:
    """What runs the script of a peer."""
    peer = PEERS[name]
    return [python, str(HERE / peer.script), *arguments, *peer.size]


def peer_environment(threads: int) -> dict[str, str]:
    """Variables for the script of a peer, which must not see the packages of tripletjax."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return alone | {"OMP_NUM_THREADS": str(threads)}
