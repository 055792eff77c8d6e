"""Safetensors with a digest of every byte, to detect damage that the format itself does not.

The header contains the SHA-256 of the complete content, computed with zeros in place of the digest,
and of any accompanying bytes, such as a JSON record in a separate file.
"""

import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

DIGEST = "sha256"
BLANK = "0" * 64


class DamagedError(ValueError):
    """The content differs from what was written."""


def sealed(
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    beside: bytes = b"",
) -> bytes:
    """The content of a safetensors file with its digest.

    Args:
        arrays: by name.
        metadata: further entries of the header.
        beside: content of another file that the digest covers too.

    Example:
        >>> content = sealed({"a": np.arange(3.0)}, {"made": "today"})
        >>> unsealed(content, {"made"})
        ({'made': 'today'}, {'a': array([0., 1., 2.])})
    """
    # In C order, which safetensors assumes; ascontiguousarray would add an axis to scalars.
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = _in_order(save(ordered, dict(metadata or {}) | {DIGEST: BLANK}))
    digest = sha256(content + beside).hexdigest()
    start = content.index(f'"{DIGEST}":"{BLANK}"'.encode()) + len(DIGEST) + 4
    return content[:start] + digest.encode() + content[start + len(BLANK) :]


def _in_order(content: bytes) -> bytes:
    """Sort the metadata in the header by name: safetensors writes them in random order."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # keeps the arrays aligned
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def unsealed(
    content: bytes, entries: Collection[str] = (), beside: bytes = b""
) -> tuple[dict[str, str], dict[str, Any]]:
    """Metadata and arrays of a safetensors file, checked against the digest if there is one.

    Args:
        content: of a safetensors file, from ``sealed`` or without a digest.
        entries: names of the metadata that are allowed.
        beside: as for ``sealed``.

    Raises:
        DamagedError: the content is incomplete, or has changed since it was written.

    Example:
        >>> content = bytearray(sealed({"a": np.arange(3.0)}))
        >>> content[-1] ^= 1
        >>> unsealed(bytes(content))
        Traceback (most recent call last):
        tripletjax.sealing.DamagedError: its content has changed since it was written
    """
    metadata = metadata_of(content)
    try:
        arrays = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedError(" ".join(str(error).split())) from error
    digest = metadata.pop(DIGEST, None)
    unknown = sorted(set(metadata) - set(entries))
    if unknown:
        raise DamagedError(f"unknown entry {unknown[0]!r} in its header")
    if digest is not None:
        blank = content.replace(digest.encode(), BLANK.encode(), 1)
        if sha256(blank + beside).hexdigest() != digest:
            raise DamagedError("its content has changed since it was written")
    return metadata, arrays


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata in a header, including the digest, which is not checked.

    Raises:
        DamagedError: the header is not that of a safetensors file.
    """
    length = int.from_bytes(content[:8], "little")
    try:
        return dict(json.loads(content[8 : 8 + length]).get("__metadata__", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError("its header is not that of a safetensors file") from error
