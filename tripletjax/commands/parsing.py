"""Parsers of the command line: one-line errors with the nearest valid name."""

import argparse
import re
from collections.abc import Callable, Iterable
from dataclasses import Field
from typing import Any, NamedTuple, NoReturn, get_args

from tripletjax.checks import suggestion
from tripletjax.settings import default_text


class Command(NamedTuple):
    """A command: options are added and modules imported only when it is chosen."""

    name: str
    summary: str
    example: str
    add_options: Callable[["Parser"], None]
    run: Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """A parser with one-line errors and without abbreviations.

    Args:
        command: command to parse; None: the choice of a command.
        **options: options of ``argparse.ArgumentParser``.
    """

    def __init__(self, command: Command | None = None, **options: Any):
        self.command, self.is_complete = command, command is None
        if command is not None:
            summary = command.summary
            options["description"] = f"{summary[0].upper()}{summary[1:]}."
            options["epilog"] = f"Example:\n  {command.example}"
            options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """As usual, but unknown options are an error of the command itself."""
        if self.command is not None and not self.is_complete:
            self.is_complete = True
            self.set_defaults(run=self.command.run)
            self.command.add_options(self)
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        line = " ".join(message.split())
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", line)
        if choice:
            line += suggestion(choice[1], re.findall(r"[\w.:/-]+", choice[2]))
        self.exit(2, f"tripletjax: {line}; see '{self.prog} --help'\n")

    def _meant(self, unknown: Iterable[str]) -> str:
        """The option nearest to the first unknown one."""
        options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        known = re.findall(r"--[\w-]+", self.format_usage())
        return suggestion(options[0], known) if options else ""


def add_settings(group: Any, entries: Iterable[Field], **metavars: str) -> None:
    """Add an option for each setting; options that are not given are absent from the namespace.

    Args:
        group: of a parser.
        entries: from ``Settings.entries()``, or fields created by ``setting``.
        **metavars: placeholders of the values in the help, by name.
    """
    for entry in entries:
        flag = "--" + entry.name.replace("_", "-")
        given: dict[str, Any] = {"default": argparse.SUPPRESS, "help": option_help(entry)}
        if entry.type is bool and entry.default:
            given |= {"action": argparse.BooleanOptionalAction}
        elif entry.type is bool:
            given |= {"action": "store_true"}
        else:
            kind = _converter(entry)
            given |= {"type": kind, "choices": entry.metadata["choices"] or None}
            if not given["choices"]:
                given["metavar"] = metavars.get(entry.name, METAVARS.get(kind, "TEXT"))
        group.add_argument(flag, **given)


def add_x64(group: Any) -> None:
    """Add the option for the precision of a command."""
    group.add_argument("--x64", action="store_true", help="compute in float64")


def option_help(entry: Field) -> str:
    """The help of an option: the meaning of the setting, its unit and its default."""
    text, unit = entry.metadata["text"], entry.metadata["unit"]
    default = default_text(entry)
    remarks = [unit] if unit else []
    remarks += [f"default: {default}"] if default else []
    return (f"{text} ({'; '.join(remarks)})" if remarks else text).replace("%", "%%")


def _converter(entry: Field) -> Callable[[str], Any]:
    """A function that converts a word of the command line to the type of a setting."""
    kinds = set(get_args(entry.type) or [entry.type]) - {type(None)}
    if kinds == {tuple[float, float]}:
        return two_numbers
    if kinds == {tuple[float, float, float]}:
        return three_numbers
    return next((kind for kind in (int, float) if kinds == {kind}), str)


def two_numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by a comma."""
    return tuple(float(part) for part in text.split(","))


def three_numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas."""
    return two_numbers(text)


two_numbers.__name__ = "LO,HI"  # argparse names the type in its message
three_numbers.__name__ = "C,R0,M"
METAVARS: dict[Any, str] = {
    int: "N",
    float: "X",
    two_numbers: "LO,HI",
    three_numbers: "C,R0,M",
    str: "TEXT",
}
