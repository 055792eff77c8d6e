"""Settings as fields of dataclasses, each declared once: default, meaning, unit and choices.

The validation of names, the options of the commands, commented YAML files and the tables in the
documentation are generated from these fields.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from textwrap import wrap
from typing import Any, Self, TypeGuard

import yaml

from tripletjax.checks import InputError, as_choice, require_names, settle, unsavable

WIDTH, COLUMN = 100, 32  # width of a settings file, and column of its comments


def setting(
    default: Any, text: str, unit: str = "", *, none: str = "", choices: Sequence[str] = ()
) -> Any:
    """A dataclass field with its documentation.

    Args:
        default: value if none is given.
        text: meaning, in a few words.
        unit: unit of the value.
        none: meaning of None, if None is allowed.
        choices: all allowed values.
    """
    about = {"text": text, "unit": unit, "none": none, "choices": tuple(choices)}
    return field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base class for dataclasses of settings; the fields of nested settings count as its own.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Run(Settings):
        ...     steps: int = setting(10, "number of steps")
        >>> Run().with_settings({"steps": 20}).flat()
        {'steps': 20}
        >>> Run(step=20)
        Traceback (most recent call last):
        tripletjax.checks.InputError: Run: unknown setting 'step'; did you mean 'steps'?
    """

    def __new__(cls, **settings: Any) -> Self:
        require_names(settings, [f.name for f in fields(cls)], source=cls.__name__)
        return super().__new__(cls)

    @classmethod
    def entries(cls) -> list[Field]:
        """The fields, with nested settings replaced by their fields."""
        return [
            entry
            for own in fields(cls)
            for entry in (own.type.entries() if _is_nested(own.type) else [own])
        ]

    def flat(self) -> dict[str, Any]:
        """All values by name, including those of nested settings."""
        values: dict[str, Any] = {}
        for own in fields(self):
            value = getattr(self, own.name)
            values |= value.flat() if isinstance(value, Settings) else {own.name: value}
        return values

    def with_settings(self, settings: Mapping[str, Any], source: str = "") -> Self:
        """A copy with some settings changed by name, including nested ones.

        Args:
            settings: new values.
            source: their origin, such as a file, for messages.

        Raises:
            InputError: an unknown name (the nearest is suggested), or an invalid value.
        """
        require_names(settings, [entry.name for entry in self.entries()], source=source)
        changed: dict[str, Any] = {}
        for own in fields(self):
            value = getattr(self, own.name)
            if isinstance(value, Settings):
                inside = {entry.name for entry in value.entries()}
                given = {name: new for name, new in settings.items() if name in inside}
                changed[own.name] = value.with_settings(given, source)
            elif own.name in settings:
                changed[own.name] = settings[own.name]
        return replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class Precision(Settings):
    """Base class for settings with a floating-point precision."""

    x64: bool = setting(False, "compute in float64")

    def __post_init__(self):
        settle(self, x64=as_choice("x64", self.x64, (False, True)))


def divided(given: Mapping[str, Any], *kinds: Settings, source: str = "") -> tuple[Any, ...]:
    """Several settings that have no names in common, changed by what is given for all of them.

    Args:
        given: values by name.
        *kinds: to change.
        source: where they come from, such as a file, for messages.

    Example:
        >>> divided({"x64": True}, Precision())
        (Precision(x64=True),)
    """
    names = [{entry.name for entry in kind.entries()} for kind in kinds]
    require_names(given, sorted(set().union(*names)), source=source)
    parts = ({k: v for k, v in given.items() if k in own} for own in names)
    return tuple(k.with_settings(part, source) for k, part in zip(kinds, parts, strict=True))


def _is_nested(kind: Any) -> TypeGuard[type[Settings]]:
    return isinstance(kind, type) and issubclass(kind, Settings)


def defaults(entries: Iterable[Field]) -> dict[str, Any]:
    """The default values by name."""
    return {entry.name: entry.default for entry in entries if entry.default is not MISSING}


def meaning(entry: Field) -> str:
    """The meaning of a setting with its unit and choices.

    Example:
        >>> meaning(setting(5.0, "radius of the neighbourhood", "Å"))
        'radius of the neighbourhood (Å)'
    """
    text, unit, choices = (entry.metadata[name] for name in ("text", "unit", "choices"))
    text = f"{text} ({unit})" if unit else text
    return f"{text}: {', '.join(choices)}" if choices else text


def default_text(entry: Field) -> str:
    """The default in words; empty if there is none."""
    if entry.default is None:
        return entry.metadata["none"]
    return "" if entry.default is False else str(entry.default)


def as_yaml(groups: Mapping[str, Sequence[Field]], values: Mapping[str, Any], title: str) -> str:
    """The text of a commented settings file that ``read_settings`` reads.

    Args:
        groups: the settings under their headings.
        values: the values of all settings.
        title: comment at the top.
    """
    lines = [f"# {line}" for line in title.splitlines()]
    for heading, entries in groups.items():
        lines += ["", f"# {heading}"]
        for entry in entries:
            comment = meaning(entry)
            if entry.metadata["none"]:
                comment += f"; null: {entry.metadata['none']}"
            line = f"{entry.name}: {_value(values[entry.name])}"
            beside = f"{line:{COLUMN}}  # {comment}"
            above = wrap(comment, WIDTH, initial_indent="# ", subsequent_indent="# ")
            lines += [beside] if len(beside) <= WIDTH else [*above, line]
    return "\n".join(lines) + "\n"


def as_markdown(entries: Iterable[Field]) -> str:
    """The table of settings in the documentation."""
    lines = ["| name | default | meaning |", "|---|---|---|"]
    for entry in entries:
        default = default_text(entry) or str(entry.default).lower()
        lines.append(f"| `{entry.name}` | {default} | {meaning(entry)} |")
    return "\n".join(lines) + "\n"


def read_settings(path: str | Path) -> dict[str, Any]:
    """Settings from a YAML file, for ``with_settings``.

    Raises:
        InputError: the file is missing, or does not contain a mapping of names to values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: expected a YAML file of settings")
    try:
        settings = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as YAML: {reason}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise InputError(
            f"{path} contains a {type(settings).__name__}: expected lines 'name: value'"
        )
    return settings


class _Loader(yaml.SafeLoader):
    """YAML 1.2 in two respects: 1e-2 is a number, and No is nobelium."""


NUMBER, BOOL = "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(BOOL, re.compile("^(true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver(  # after integers, which take precedence
    NUMBER, re.compile(r"^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$"), "-+.0123456789"
)


def _value(value: Any) -> str:
    """A value on one line: as JSON, which is also YAML, but without quotes where possible."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_value(k)}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str) and re.fullmatch(r"[\w./][\w./-]*", value):
        if _Loader(value).get_single_data() == value:
            return value
    if callable(value):
        raise unsavable(value)
    return json.dumps(value, ensure_ascii=False)
