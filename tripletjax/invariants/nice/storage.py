"""Contractions in files: safetensors, with a JSON header for everything but the arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.invariants.nice.products import Key, Piece, n_products, source_parity
from tripletjax.invariants.nice.recursion import Contraction, Layout
from tripletjax.io import atomic_open, require_writable, to_json
from tripletjax.sealing import DamagedError, metadata_of, sealed, unsealed
from tripletjax.types import InputError

FORMAT_VERSION = 1
HEADER = "tripletjax contraction"  # the entry of the file's metadata
DTYPES = ("float16", "float32", "float64")


def save_contraction(path: str | Path, contraction: Contraction) -> None:
    """Save a contraction to a file atomically, preserving all bits and dtypes.

    Args:
        path: the file, such as ``contraction.safetensors``; an existing file is replaced.
        contraction: from ``fit_contraction``, with NumPy or JAX arrays.

    Raises:
        InputError: the file cannot be written, or this is not a contraction.

    Example:
        >>> import tempfile
        >>> from tripletjax.invariants.nice import fit_contraction
        >>> densities = np.random.default_rng(0).normal(size=(50, 1, 2, 9))
        >>> contraction = fit_contraction(densities, 4, components=5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_contraction(f"{folder}/contraction.safetensors", contraction)
        ...     loaded = load_contraction(f"{folder}/contraction.safetensors")
        >>> loaded.layout == contraction.layout
        True
    """
    require_writable(path)
    if not isinstance(contraction, Contraction):
        raise InputError(
            f"invalid contraction={type(contraction).__name__}: expected one from fit_contraction"
        )
    # In C order, which the format assumes; ascontiguousarray would add an axis to scalars.
    arrays = {name: np.asarray(a, order="C") for name, a in _named(contraction).items()}
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES:
            raise InputError(f"{name} is of {array.dtype}; cast it to one of {', '.join(DTYPES)}")
    layout = contraction.layout
    fault = _fault(arrays, layout)
    if fault or len(layout.steps) != contraction.nu - 1:
        raise InputError(f"inconsistent contraction: {fault or 'orders are missing'}; fit it again")
    header = {
        "version": FORMAT_VERSION,
        "l_max": layout.l_max,
        "channels": layout.n_channels,
        "steps": [
            [[list(key), [list(piece) for piece in pieces]] for key, pieces in step]
            for step in layout.steps
        ],
    }
    content = sealed(arrays, {HEADER: to_json(header)})
    with atomic_open(path) as file:
        file.write(content)


def load_contraction(path: str | Path) -> Contraction:
    """Load a contraction from a file of ``save_contraction``, as NumPy arrays.

    Args:
        path: the file.

    Returns:
        The ``Contraction``; its correlations are bit-identical to those of the saved one.

    Raises:
        InputError: the file is missing, not a contraction, truncated, or in another version of the
            format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: expected one written by save_contraction")
    try:
        content = path.read_bytes()
        is_contraction = HEADER in metadata_of(content)
        metadata, arrays = unsealed(content, (HEADER,)) if is_contraction else ({}, {})
    except (DamagedError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is not a contraction, or is truncated ({reason}); save it again with "
            "save_contraction"
        ) from error
    if not is_contraction:
        raise InputError(
            f"{path} is a safetensors file but not a contraction: expected one from "
            "save_contraction"
        )
    try:
        header = json.loads(metadata[HEADER])
        version = header["version"]
        if version == FORMAT_VERSION:
            layout = _layout(header)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"the header of {path} is damaged; save it again with save_contraction"
        ) from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has version {version!r} of the format, but this tripletjax reads version "
            f"{FORMAT_VERSION}; fit and save it again, or use the tripletjax that wrote it"
        )
    fault = _fault(arrays, layout)
    if fault or not layout.steps:
        raise InputError(
            f"{path} is damaged: {fault or 'it has no steps'}; save it again with save_contraction"
        )
    keys = [[key for key, _ in step] for step in layout.steps[:-1]]
    channels = tuple(arrays[f"channels.{l}"] for l in range(layout.l_max + 1))
    weights, variances, discarded = (
        tuple(
            {key: arrays[_name(kind, order, key)] for key in blocks}
            for order, blocks in enumerate(keys, start=2)
        )
        for kind in ("weights", "variances", "discarded")
    )
    return Contraction(channels, weights, variances, discarded, layout)


def _layout(header: dict[str, Any]) -> Layout:
    steps = tuple(
        tuple(
            ((int(sigma), int(degree)), tuple(Piece(*map(int, piece)) for piece in pieces))
            for (sigma, degree), pieces in step
        )
        for step in header["steps"]
    )
    return Layout(int(header["l_max"]), int(header["channels"]), steps)


def _name(kind: str, order: int, key: Key) -> str:
    return f"{kind}.{order}.{key[0]:+d}.{key[1]}"


def _named(contraction: Contraction) -> dict[str, Any]:
    """All arrays by their names in the file."""
    arrays: dict[str, Any] = {f"channels.{l}": a for l, a in enumerate(contraction.channels)}
    for kind in ("weights", "variances", "discarded"):
        for order, blocks in enumerate(getattr(contraction, kind), start=2):
            arrays |= {_name(kind, order, key): array for key, array in blocks.items()}
    return arrays


def _fault(arrays: dict[str, np.ndarray], layout: Layout) -> str | None:
    """A description of the fault if the arrays do not match the layout and its shapes."""
    channels = layout.n_channels
    shapes: dict[str, tuple[int, ...]] = {
        f"channels.{l}": (channels, channels) for l in range(layout.l_max + 1)
    }
    sizes = {(1, l): channels for l in range(layout.l_max + 1)}
    for order, step in enumerate(layout.steps, start=2):
        for key, pieces in step:
            for piece in pieces:
                source = (source_parity(key[0], piece.lambda1, piece.l, key[1]), piece.lambda1)
                if piece.features > sizes.get(source, 0) or piece.channels > channels:
                    return f"block {key} of order {order} needs more of {source} than there is"
        if order == len(layout.steps) + 1:
            break  # invariants of the last order are not contracted
        sizes = {}
        for key, pieces in step:
            variances = arrays.get(_name("variances", order, key))
            sizes[key] = 0 if variances is None else variances.size
            shapes |= {
                _name("weights", order, key): (n_products(pieces), sizes[key]),
                _name("variances", order, key): (sizes[key],),
                _name("discarded", order, key): (),
            }
    found = {name: array.shape for name, array in arrays.items()}
    differ = [name for name in sorted(found | shapes) if found.get(name) != shapes.get(name)]
    if not differ:
        return None
    has, should = (known.get(differ[0], "none") for known in (found, shapes))
    return f"the shape of {differ[0]} is {has} and should be {should}"
