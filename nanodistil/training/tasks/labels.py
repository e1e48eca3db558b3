"""Labels: from what stands in a file to the numbers of classes, and the names that a config keeps for them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from nanodistil.config import Config
from nanodistil.config_values import MAX_LABELS, unnamed_labels
from nanodistil.weights.errors import InputError, excerpt


def text_of(label: Any) -> str:
    """A label as it is written: 1 and "1" and " 1 " are the same."""
    return str(label).strip()


def is_whole(text: str) -> bool:
    return text.isdecimal() and text.isascii()


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except (ValueError, OverflowError):
        return False


def check_names(names: Sequence[str]) -> None:
    """Raises InputError for names of classes (none: not given) of which one is empty or there twice, or a single one.

    >>> check_names(["no", "yes", "no"])
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: a label is named twice: no, yes, no
    """
    if "" in names:
        raise InputError(f"a label is named by nothing: {', '.join(map(repr, names))[:200]}")
    if len(set(names)) != len(names):
        raise InputError(f"a label is named twice: {', '.join(names)[:200]}")
    if len(names) == 1:
        raise InputError(f"one label, {excerpt(names[0])}, cannot be told from others: name them all")


def named(text: str, names: Sequence[str]) -> str | None:
    """Which of the names a label says: its own, or the one that it numbers from 0, unless names are numbers themselves.

    >>> named("1", ["no", "yes"]), named("7", ["0", "7"]), named("1", ["0", "7"])
    ('yes', '7', None)
    """
    if text in names:
        return text
    if is_whole(text) and int(text) < len(names) and not any(map(is_number, names)):
        return names[int(text)]
    return None


def classes_of(labels: Iterable[Any], names: Sequence[str], config: Config, may_lack: bool = False) -> dict[int, str]:
    """Number -> name of the classes that these labels are of: the given names, the config's, or the labels in order.

    Labels that are 0, 1, ... number the names, if no name is a number. Raises InputError for labels that are not among
    the names, and if all are the same and no names were given: such a class cannot be told from others. may_lack:
    there are examples without a label, from which it can.

    >>> classes_of(["no", "yes", "no"], (), Config()), classes_of(["0", "1"], (), Config())
    ({0: 'no', 1: 'yes'}, {0: 'LABEL_0', 1: 'LABEL_1'})
    >>> classes_of([10, 9], (), Config())
    {0: '9', 1: '10'}
    """
    found = set(map(text_of, labels))
    if names:
        strange = sorted(label for label in found if named(label, names) is None)
        if strange:
            known = ", ".join(names)[:200]
            why = ": where names are numbers, labels are taken by name alone" if any(map(is_number, names)) else ""
            raise InputError(f"the label {excerpt(strange[0])} is not among {known}{why}")
        if len(found) == 1 and not may_lack:
            warnings.warn(f"all examples have the label {excerpt(found.pop())}, of {len(names)}", stacklevel=3)
        return dict(enumerate(names))
    if len(found) == 1 and not may_lack:
        raise InputError(
            f"all examples have the label {excerpt(found.pop())}, so there is nothing to tell apart; "
            "where the others are only missing here, name them all with --labels"
        )
    if found == set(config.id2label.values()):
        return config.id2label
    if len(found) > MAX_LABELS:
        raise InputError(f"{len(found)} different labels are more than the {MAX_LABELS} that a model may have")
    order = sorted(found, key=int) if all(map(is_whole, found)) else sorted(found)
    if order == [str(number) for number in range(len(order))]:
        return config.id2label if config.num_labels == len(order) else unnamed_labels(len(order))
    return dict(enumerate(order))


def number_of(label: Any, config: Config, place: str, names: Sequence[str] = ()) -> int:
    """The number of a class in the config, by its name there, or what it is called among `names`, or numbers.

    Raises InputError for a label that is neither. What a label numbers is looked up by name again, since the config may
    have the same names in another order.

    >>> config = Config(id2label={0: "pos", 1: "neg"})
    >>> number_of("1", config, "line 1", ["neg", "pos"]), number_of("1", config, "line 1")
    (0, 1)
    """
    text, own, number = text_of(label), list(config.id2label.values()), None
    if text in own:
        number = config.label2id[text]
    elif names and len(names) == config.num_labels and (name := named(text, names)) is not None:
        alike = [other for other in own if other.lower() == name.lower()]
        number = config.label2id[alike[0]] if len(alike) == 1 else names.index(name)
    elif not names and named(text, own) is not None:
        number = int(text)
    if number is None:
        raise InputError(f"{place}: the label {excerpt(text)} is not one of the model's: {', '.join(own)[:200]}")
    return number
