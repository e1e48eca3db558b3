"""Labels: from what stands in a file to the numbers of classes, and the names that a config keeps for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nanodistil.config import MAX_LABELS, DistilBertConfig, unnamed_labels
from nanodistil.weights.errors import InputError, excerpt


def text_of(label: Any) -> str:
    """A label as it is written: 1 and "1" and " 1 " are the same."""
    return str(label).strip()


def is_whole(text: str) -> bool:
    return text.isdecimal() and text.isascii()


def classes_of(labels: Iterable[Any], names: Sequence[str], config: DistilBertConfig) -> dict[int, str]:
    """Number -> name of the classes that these labels are of: the given names, the config's, or the labels in order.

    Labels that are 0, 1, ... count as the numbers of classes, whatever the names are. Raises InputError for labels that
    are not among the names.

    >>> classes_of(["no", "yes", "no"], (), DistilBertConfig()), classes_of(["0", "1"], (), DistilBertConfig())
    ({0: 'no', 1: 'yes'}, {0: 'LABEL_0', 1: 'LABEL_1'})
    >>> classes_of([10, 9], (), DistilBertConfig())
    {0: '9', 1: '10'}
    """
    found = set(map(text_of, labels))
    if names:
        if len(set(names)) != len(names):
            raise InputError(f"a label is named twice: {', '.join(names)}")
        strange = sorted(label for label in found - set(names) if not (is_whole(label) and int(label) < len(names)))
        if strange:
            raise InputError(f"the label {excerpt(strange[0])} is not among {', '.join(names)[:200]}")
        return dict(enumerate(names))
    if found == set(config.id2label.values()):
        return config.id2label
    if len(found) > MAX_LABELS:
        raise InputError(f"{len(found)} different labels are more than the {MAX_LABELS} that a model may have")
    order = sorted(found, key=int) if all(map(is_whole, found)) else sorted(found)
    if order == [str(number) for number in range(len(order))]:
        return config.id2label if config.num_labels == len(order) else unnamed_labels(len(order))
    return dict(enumerate(order))


def number_of(label: Any, config: DistilBertConfig, place: str, names: Sequence[str] = ()) -> int:
    """The number of a class, by its name in the config, among `names`, or as a number. Raises InputError for none."""
    text = text_of(label)
    number = config.label2id.get(text)
    if number is None and text in names and len(names) == config.num_labels:
        number = names.index(text)
    if number is None and is_whole(text) and int(text) < config.num_labels:
        number = int(text)
    if number is None:
        known = ", ".join(config.id2label.values())
        raise InputError(f"{place}: the label {excerpt(text)} is not one of the model's: {known[:200]}")
    return number
