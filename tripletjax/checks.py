"""Errors for invalid input, and the checks that raise them: Python and NumPy, without JAX."""

from collections.abc import Hashable, Iterable, Sequence
from difflib import get_close_matches
from math import inf, isfinite
from typing import Any

import numpy as np

CUTOFF_FUNCTIONS = ("shifted_cosine", "smooth", "bump")
RADIAL_BASES = ("gto", "laplacian", "chebyshev", "gaussian", "logarithmic")


class InputError(ValueError):
    """Invalid input; the message is one line: what is wrong, where, and what is expected."""


class SimulationError(RuntimeError):
    """A simulation that cannot continue, for example one that blew up; the message is one line."""


class ConvergenceError(RuntimeError):
    """An iteration that did not converge; the message is one line, with the value reached."""


def reason_of(error: BaseException) -> str:
    """The first line of an error of a user's function, or its type if it says nothing.

    Example:
        >>> reason_of(ValueError("no shape.")), reason_of(KeyError())
        ('no shape', 'KeyError')
    """
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def settle(instance: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass to their validated values, during its initialisation."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def as_integer(name: str, value: Any, low: int | None = 0, high: int | None = None) -> int:
    """Return a Python or NumPy integer as a Python int; bools are not accepted.

    Args:
        name: of the value, for messages.
        value: to check.
        low, high: bounds, inclusive; None: none.

    Raises:
        InputError: the value is not a whole number, or is out of bounds.

    Example:
        >>> as_integer("l_max", np.int64(3), 0, 20)
        3
    """
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (is_whole and (low is None or low <= value) and (high is None or value <= high)):
        bounds = [] if low is None else [f"from {low}"]
        bounds += [] if high is None else [f"to {high}"]
        raise InputError(
            f"invalid {name}={value!r}: expected {' '.join(['a whole number', *bounds])}"
        )
    return int(value)


def as_number(name: str, value: Any, low: float = -inf, high: float = inf, unit: str = "") -> float:
    """Return a finite Python or NumPy number as a Python float; bools are not accepted.

    Args:
        name: of the value, for messages.
        value: to check.
        low, high: bounds, inclusive.
        unit: of the value, for messages.

    Raises:
        InputError: the value is not a finite number, or is out of bounds.

    Example:
        >>> as_number("ema", np.float32(0.5), 0, 1)
        0.5
    """
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not (is_finite(value) and low <= value <= high):
        bounds = [f"at least {low:g}"] if low > -inf else []
        bounds += [f"at most {high:g}"] if high < inf else []
        accepted = " ".join(["a finite number", " and ".join(bounds)]).strip()
        raise InputError(f"invalid {name}={value!r}: expected {accepted}{_in(unit)}")
    return float(value)


def as_positive(name: str, value: Any, unit: str = "") -> float:
    """Return a positive, finite number as a Python float; see ``as_number``.

    Example:
        >>> as_positive("cutoff", 5, "Å")
        5.0
    """
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not (is_finite(value) and value > 0):
        raise InputError(f"invalid {name}={value!r}: expected a positive number{_in(unit)}")
    return float(value)


def as_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return the one of the choices that equals a value.

    Raises:
        InputError: the value is not among the choices; the nearest is suggested.

    Example:
        >>> as_choice("ensemble", "nvt", ("nve", "nvt", "npt"))
        'nvt'
    """
    if not isinstance(value, Hashable) or value not in choices:
        near = suggestion(value, choices)
        raise InputError(
            f"invalid {name}={value!r}: expected one of {', '.join(map(str, choices))}{near}"
        )
    return choices[choices.index(value)]


def as_name(name: str, value: Any) -> str:
    """Return a string that is not empty.

    Example:
        >>> as_name("energy_key", "REF_energy")
        'REF_energy'
    """
    if not (isinstance(value, str) and value):
        raise InputError(f"invalid {name}={value!r}: expected a name")
    return value


def as_cutoff_function(name: str, value: Any) -> Any:
    """One of ``CUTOFF_FUNCTIONS``, or a function ``f(r, cutoff, width)`` as it is.

    Example:
        >>> as_cutoff_function("cutoff_function", "smooth")
        'smooth'
    """
    if not callable(value):
        return as_choice(name, value, CUTOFF_FUNCTIONS)
    if not isinstance(value, Hashable):
        raise InputError(
            f"invalid {name}={value!r}: expected a function, or an object that can be hashed"
        )
    return value


def unsavable(value: Any) -> InputError:
    """The error at a function among settings that are to be written to a file."""
    name = getattr(value, "__qualname__", type(value).__name__)
    return InputError(
        f"{name} is a Python function and cannot be saved; use one that has a name here, such as "
        "cutoff_function='smooth'"
    )


def require_names(
    given: Iterable[Any], known: Iterable[str], what: str = "setting", source: str = ""
) -> None:
    """Raise InputError for an unknown name, and suggest the nearest.

    Args:
        given: names.
        known: valid names.
        what: the kind of thing they name, for messages.
        source: their origin, such as a file, for messages.

    Example:
        >>> require_names(["max_epoch"], ["max_epochs", "max_minutes"])
        Traceback (most recent call last):
        tripletjax.checks.InputError: unknown setting 'max_epoch'; did you mean 'max_epochs'?
    """
    known = list(known)
    for name in given:
        if name not in known:
            hint = suggestion(name, known) or f"; known are {', '.join(known)}"
            where = f"{source}: " if source else ""
            raise InputError(f"{where}unknown {what} {name!r}{hint}")


def suggestion(name: Any, known: Iterable[Any]) -> str:
    """The end of a message about a misspelt name: the nearest known name; empty if none is near.

    Example:
        >>> suggestion("nvp", ["nve", "npt", "langevin"])
        "; did you mean 'nve'?"
    """
    near = get_close_matches(str(name), [str(one) for one in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def is_finite(value: Any) -> bool:
    """Whether a number is a finite float: a Python integer may be larger than any float."""
    try:
        return _is_number(value) and isfinite(value)
    except OverflowError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""
