"""Models and weights as JSON and arrays: what is needed to make them again.

Dataclasses and NamedTuples are written by the path of their class and their fields, functions by
their path alone, and arrays by their name in a file beside the record. Reading imports what the
paths name: models in a module of the user's are found if the module can be imported. A dataclass
whose fields are not what a file should hold has ``record_fields()``, the arguments that make it;
one that was given new fields has ``unrecorded``, their values in records that lack them.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from types import FunctionType
from typing import Any

import jax
import numpy as np

CLASS, FUNCTION, ARRAY, TUPLE, DICT = "class", "function", "array", "tuple", "dict"
ITEMS = "items"  # of a mapping whose keys are no strings


class UnknownModelError(Exception):
    """A path in a record leads nowhere."""


def to_record(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    """A value as JSON; arrays in it are added to ``arrays`` under names that begin with ``name``.

    Example:
        >>> arrays = {}
        >>> to_record({"shift": np.zeros(2), "kinds": (1, 8)}, arrays, "weights")
        {'dict': {'shift': {'array': 'weights/shift'}, 'kinds': {'tuple': [1, 8]}}}
        >>> list(arrays)
        ['weights/shift']
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        arrays[name] = np.asarray(value)
        return {ARRAY: name}
    if isinstance(value, FunctionType):
        return {FUNCTION: path_of(value)}

    def inside(items):
        return {key: to_record(item, arrays, f"{name}/{key}") for key, item in items}

    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {DICT: inside(value.items())}
        return {ITEMS: to_record(list(value.items()), arrays, name)}
    if is_dataclass(value):
        return {CLASS: path_of(type(value)), "fields": inside(_fields(value).items())}
    names = getattr(value, "_fields", None)  # of a NamedTuple
    if isinstance(value, tuple) and names is not None:
        return {CLASS: path_of(type(value)), "fields": inside(zip(names, value, strict=True))}
    if isinstance(value, list | tuple):
        items = list(inside(enumerate(value)).values())
        return items if isinstance(value, list) else {TUPLE: items}
    return {CLASS: path_of(type(value)), "fields": None}


def of_record(record: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value that ``to_record`` wrote.

    Raises:
        UnknownModelError: a class or function cannot be found, or cannot be made of a record.
        KeyError, TypeError, ValueError: the record is damaged.

    Example:
        >>> of_record({"tuple": [1, {"array": "shift"}]}, {"shift": np.zeros(2)})
        (1, array([0., 0.]))
    """
    if isinstance(record, list):
        return [of_record(item, arrays) for item in record]
    if not isinstance(record, dict):
        return record
    if ARRAY in record:
        return arrays[record[ARRAY]]
    if TUPLE in record:
        return tuple(of_record(item, arrays) for item in record[TUPLE])
    if ITEMS in record:
        return dict(of_record(record[ITEMS], arrays))
    if DICT in record:
        return {key: of_record(item, arrays) for key, item in record[DICT].items()}
    if FUNCTION in record:
        return _found(record[FUNCTION], FunctionType)
    kind: Any = _found(record[CLASS], type)
    is_known = is_dataclass(kind) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    if record["fields"] is None or not is_known:
        raise UnknownModelError(f"{record[CLASS]} is not a dataclass")
    given = {key: of_record(item, arrays) for key, item in record["fields"].items()}
    return of_fields(kind, given)


def of_fields(kind: Any, fields: Mapping[str, Any]) -> Any:
    """A dataclass or NamedTuple of its fields; those that files of before lack have the values
    that ``unrecorded`` of the class names.

    Example:
        >>> from tripletjax.potentials.architecture import Architecture
        >>> of_fields(Architecture, {"cutoff": 4.0}).order, Architecture(cutoff=4.0).order
        (2, 4)
    """
    return kind(**{**getattr(kind, "unrecorded", {}), **fields})


def path_of(thing: Any) -> str:
    """Where a class or function is defined, as "module:name"."""
    return f"{thing.__module__}:{thing.__qualname__}"


def imported(path: str) -> Any:
    """What ``path_of`` names; the errors are those of Python."""
    module, _, name = path.partition(":")
    thing: Any = import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def _fields(value: Any) -> dict[str, Any]:
    """What a dataclass is made of, by name."""
    if hasattr(value, "record_fields"):
        return value.record_fields()
    return {f.name: getattr(value, f.name) for f in fields(value) if f.init}


def _found(path: str, kind: type) -> Any:
    """What a path names, of this kind and no other."""
    try:
        thing = imported(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownModelError(f"{path} cannot be imported") from error
    if not isinstance(thing, kind):
        raise UnknownModelError(f"{path} is not a {kind.__name__}")
    return thing
