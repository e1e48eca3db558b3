"""The command line as argparse reads it, in words of ours: one line an error, which says what was perhaps meant.

What is different from argparse:

- an error is one line, without the usage above it, which is longer than some terminals;
- a misspelt verb, option or choice is answered with what is near it;
- values are read by the functions below, so no message has the name of a function in it;
- inputs may stand between options, as in `fill-mask "A [MASK]." --top-k 2 "B [MASK]."`;
- -1e-3 and -inf are numbers and no options.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from nanodistil.weights.errors import InputError, excerpt, meant


def near(word: str, words: Iterable[str]) -> str:
    """The end of a message: what was perhaps meant, if anything.

    >>> near("--tpo-k", ["--top-k", "--json"]), near("--colour", ["--top-k"])
    ('; did you mean --top-k?', '')
    """
    return meant(word.lower().replace("_", "-"), words)


def whole(low: int | None = None, besides: str = "") -> Callable[[str], Any]:
    """For argparse: a whole number, of at least `low`; or the word `besides`.

    >>> whole(1)("8"), whole(0, "all")("all")
    (8, 'all')
    >>> whole(1)("0")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: must be a whole number from 1, not '0'
    """

    def number(text: str) -> Any:  # of at most 18 digits: Python itself gives up at 4300
        if besides and text == besides:
            return text
        if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text) and (low is None or int(text) >= low):
            return int(text)
        lowest = "" if low is None else f" from {low}"
        raise argparse.ArgumentTypeError(
            f"must be a whole number{lowest}{f' or {besides}' if besides else ''}, not {excerpt(text)}"
        )

    return number


def number(text: str) -> float:
    """For argparse: a number; inf and -inf too.

    >>> number("-inf")
    -inf
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value:
        raise argparse.ArgumentTypeError(f"must be a number, not {excerpt(text)}")
    return value


def share(text: str) -> float:
    """For argparse: above 0 and at most 1."""
    if not 0 < number(text) <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, not {excerpt(text)}")
    return float(text)


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Does not break names at their hyphens, so that they can be copied."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that speaks as above. `more`: the list of inputs, which may go on behind options."""

    def __init__(self, prog: str | None = None, **more: Any) -> None:
        super().__init__(prog, formatter_class=Formatter, **more)
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf$)", re.IGNORECASE)
        self.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="say nothing but results and errors"
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.words = list(args or ())
        return super().parse_known_args(args, namespace)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse, with the inputs that stand behind options. Raises InputError."""
        found, rest = self.parse_known_args(args, namespace)
        end = rest.index("--") if "--" in rest else len(rest)
        unknown = [word for word in rest[:end] if word[:1] == "-" and word != "-"]
        lists = [action for action in self._actions if not action.option_strings and action.nargs in ("*", "+")]
        innermost: Parser = getattr(found, "parser", self)
        if unknown:
            innermost.no_option(unknown[0])
        if rest and not lists:
            innermost.error(f"{excerpt(rest[end == 0])} is one argument too many")
        for action in lists:
            inputs = getattr(found, action.dest)
            inputs.extend(rest[:end] + rest[end + 1 :])
            self._check_inputs(inputs, action, found)
        return found

    def _check_inputs(self, inputs: list[str], action: argparse.Action, found: argparse.Namespace) -> None:
        """Raises InputError for options and bytes among the inputs, and if an option has taken them all."""
        flags = self.flags()
        for word in inputs:
            if word.startswith("--") and word.partition("=")[0] in flags:
                self.error(f"{word.partition('=')[0]} stands behind --, so it is no option; put it before")
            if action.dest == "inputs" and any("\ud800" <= c <= "\udfff" for c in word):
                self.error(f"the input {excerpt(word)} is not UTF-8, which texts must be")
        if inputs or getattr(found, "input", None) is not None:
            return
        for greedy in self._actions:
            if greedy.option_strings and greedy.nargs == "+" and (taken := getattr(found, greedy.dest)):
                flag = greedy.option_strings[-1]
                self.error(
                    f"there is no {action.metavar}; if {flag} has taken it, write {flag} ... -- {excerpt(taken[-1])}"
                )

    def flags(self) -> list[str]:
        """All spellings of all options."""
        return [flag for action in self._actions for flag in action.option_strings]

    def no_option(self, word: str) -> NoReturn:
        """Raises InputError for what looks like an option."""
        name = word.partition("=")[0]
        hint = near(name, self.flags())
        if not hint and not name.startswith("--"):
            hint = "; put -- before a text that begins with -"
        self.error(f"there is no option {excerpt(name)[1:-1]}{hint}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            words = list(map(str, action.choices))
            raise argparse.ArgumentError(
                action, f"{excerpt(str(value))} is not one of {', '.join(words)}{near(str(value), words)}"
            )

    def _print_message(self, message: str, file: Any = None) -> None:
        print(message, end="", file=file or sys.stdout, flush=True)  # argparse says nothing if that fails

    def error(self, message: str) -> NoReturn:
        """Raises InputError, one line."""
        if "required" in message:  # perhaps it is there, misspelt
            for word in self.words:
                name = word.partition("=")[0]
                if name.startswith("--") and len(name) > 2 and not any(f.startswith(name) for f in self.flags()):
                    self.words = []
                    self.no_option(word)
        message = message.removeprefix("argument ")
        if lacks := re.fullmatch(r"(.*): expected (one|at least one) argument", message):
            flag = lacks[1].split("/")[-1]
            message = f"{flag} needs a value; one that begins with - is written {flag}=-..."
        raise InputError(f"{message}{' ' if message.endswith('?') else '; '}{self.prog} --help lists all")
