"""Settings as fields of dataclasses, each declared once: default, meaning, unit and choices.

From these come the checks of names, the options of the commands, commented files of settings in
YAML and the tables of the documentation.
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

WIDTH, COLUMN = 100, 32  # of a file of settings, and of the comments in it


def setting(
    default: Any, text: str, unit: str = "", *, none: str = "", choices: Sequence[str] = ()
) -> Any:
    """A field of a dataclass, with what is said of it wherever it is shown.

    Args:
        default: its value where none is given.
        text: its meaning, in a few words.
        unit: of its value.
        none: what None means, if it may be None.
        choices: all that it may be.
    """
    about = {"text": text, "unit": unit, "none": none, "choices": tuple(choices)}
    return field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A dataclass of settings, to derive from; a field that is one itself counts by its fields.

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
        """The fields, with those of nested settings in their place."""
        return [
            entry
            for own in fields(cls)
            for entry in (own.type.entries() if _is_nested(own.type) else [own])
        ]

    def flat(self) -> dict[str, Any]:
        """All values by name, with those of nested settings among them."""
        values: dict[str, Any] = {}
        for own in fields(self):
            value = getattr(self, own.name)
            values |= value.flat() if isinstance(value, Settings) else {own.name: value}
        return values

    def with_settings(self, settings: Mapping[str, Any], source: str = "") -> Self:
        """Change some settings by name, nested ones too.

        Args:
            settings: new values.
            source: where they come from, such as a file, for messages.

        Raises:
            InputError: a name that does not exist (the nearest is suggested), or a bad value.
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
    """That of a run, to derive from."""

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
    """Its meaning with its unit, and its choices.

    Example:
        >>> meaning(setting(5.0, "radius of the neighbourhood", "Å"))
        'radius of the neighbourhood (Å)'
    """
    text, unit, choices = (entry.metadata[name] for name in ("text", "unit", "choices"))
    text = f"{text} ({unit})" if unit else text
    return f"{text}: {', '.join(choices)}" if choices else text


def default_text(entry: Field) -> str:
    """The default in words; empty where there is none."""
    if entry.default is None:
        return entry.metadata["none"]
    return "" if entry.default is False else str(entry.default)


def as_yaml(groups: Mapping[str, Sequence[Field]], values: Mapping[str, Any], title: str) -> str:
    """A file of settings, with a comment on each, that ``read_settings`` reads.

    Args:
        groups: the settings under their headings.
        values: of all of them.
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
    """The table of settings that the documentation has."""
    lines = ["| name | default | meaning |", "|---|---|---|"]
    for entry in entries:
        default = default_text(entry) or str(entry.default).lower()
        lines.append(f"| `{entry.name}` | {default} | {meaning(entry)} |")
    return "\n".join(lines) + "\n"


def read_settings(path: str | Path) -> dict[str, Any]:
    """Settings from a YAML file, for ``with_settings``.

    Raises:
        InputError: the file is missing, or is not a mapping of names to values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a YAML file of settings")
    try:
        settings = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as YAML: {reason}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise InputError(f"{path} holds a {type(settings).__name__}; give lines 'name: value'")
    return settings


class _Loader(yaml.SafeLoader):
    """YAML 1.2 in two respects: 1e-2 is a number, and No is nobelium."""


NUMBER, BOOL = "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(BOOL, re.compile("^(true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver(  # whole numbers come first
    NUMBER, re.compile(r"^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$"), "-+.0123456789"
)


def _value(value: Any) -> str:
    """A value on one line: as JSON, which is YAML too, but with plain words where they will do."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_value(k)}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str) and re.fullmatch(r"[\w./][\w./-]*", value):
        if _Loader(value).get_single_data() == value:
            return value
    if callable(value):
        raise unsavable(value)
    return json.dumps(value, ensure_ascii=False)
