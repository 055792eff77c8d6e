"""Descriptors inside models: compared by content, and as files have them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from typing import Any

import jax
import numpy as np

from tripletjax.descriptors.base import Descriptor
from tripletjax.descriptors.kinds import KINDS, Parameters, kind_of
from tripletjax.types import Hypers


@dataclass(frozen=True)
class SavedDescriptor:
    """A ``Descriptor`` by the name of its kind, with its arrays."""

    kind: str
    elements: tuple[int, ...]
    hypers: Hypers
    parameters: Parameters


def saved_form(describer: Any) -> Any:
    """What stands for a descriptor in a file: ``live`` makes it again.

    That of a kind of this package does not depend on how the kind is written.
    """
    if isinstance(describer, Descriptor) and KINDS.get(describer.kind) == describer.recipe:
        return SavedDescriptor(
            describer.kind, describer.elements, describer.hypers, describer.parameters
        )
    return describer


def live(saved: Any) -> Any:
    """The inverse of ``saved_form``; a descriptor is handed on."""
    if not isinstance(saved, SavedDescriptor):
        return saved
    return Descriptor(kind_of(saved.kind), saved.hypers, saved.elements, saved.parameters)


class Same:
    """Equal to itself alone."""

    def __init__(self, thing: Any):
        self.thing = thing

    def __hash__(self) -> int:
        return id(self.thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.thing is other.thing


def content_of(value: Any) -> Any:
    """What can be hashed, and is equal for two values of equal content, arrays included.

    Dataclasses, named tuples, tuples and dicts are compared by what is in them, anything else by
    its own equality, or identity if it cannot be hashed.

    Example:
        >>> content_of((1, np.ones(2))) == content_of((1, np.ones(2)))
        True
        >>> content_of({"a": np.ones(2)}) == content_of({"a": np.zeros(2)})
        False
    """
    if isinstance(value, np.ndarray | jax.Array):
        array = np.asarray(value, order="C")
        return array.shape, array.dtype.str, sha256(array.tobytes()).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        items = ((f.name, getattr(value, f.name)) for f in fields(value) if f.init)
        return type(value), tuple((name, content_of(item)) for name, item in items)
    if isinstance(value, tuple | list):
        return type(value), tuple(content_of(item) for item in value)
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: repr(item[0]))
        return type(value), tuple((key, content_of(item)) for key, item in items)
    try:
        hash(value)
    except TypeError:
        return Same(value)
    return value
