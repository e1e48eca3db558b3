"""Single values of a config.json, checked: their type, labels under their numbers, pruned heads under their layers."""

from __future__ import annotations

from typing import Any

from nanodistil.weights.errors import CheckpointError, excerpt

MAX_LABELS = 100_000


def check_type(name: str, value: Any, annotation: Any) -> None:
    """Raise CheckpointError unless `value` is what the annotation says; an int may stand for a float.

    >>> check_type("dropout", 0, "float")
    >>> check_type("dropout", "0.1", "float")
    Traceback (most recent call last):
    nanodistil.weights.errors.CheckpointError: config: dropout should be float, not '0.1'
    """
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
    told = annotation.__name__ if isinstance(annotation, type) else str(annotation)  # a string, if they are postponed
    kind, _, optional = told.partition(" | ")
    wanted = kinds.get(kind, (dict,))
    if optional and value is None:
        return
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise CheckpointError(f"config: {name} should be {told}, not {excerpt(value)}")


def unnamed_labels(count: Any) -> dict[int, str]:
    """Names for labels that have none. Raises CheckpointError for what is no sensible number of labels.

    >>> unnamed_labels(2)
    {0: 'LABEL_0', 1: 'LABEL_1'}
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= MAX_LABELS:
        raise CheckpointError(f"config: num_labels should be a number from 1 to {MAX_LABELS}, not {excerpt(count)}")
    return {i: f"LABEL_{i}" for i in range(count)}


def labels_of(value: Any) -> dict[int, str]:
    """id2label with integer keys: JSON has only strings for them."""
    try:
        labels = {int(k): str(v) for k, v in value.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise CheckpointError(f"config: id2label should map numbers to names, not {excerpt(value)}") from None
    if not 0 < len(labels) <= MAX_LABELS:
        raise CheckpointError(f"config: id2label has {len(labels)} labels, not 1 to {MAX_LABELS}")
    return labels


def pruned_of(value: Any, n_layers: Any) -> dict[int, list[int]]:
    """pruned_heads with integer keys; a layer may be counted from the end, and named twice so.

    >>> pruned_of({"0": [1], -1: [2, 2]}, 6)
    {0: [1], 5: [2]}
    """
    found: dict[int, set[int]] = {}
    try:
        for k, heads in value.items():
            layer = int(k) + (n_layers if int(k) < 0 else 0)
            found.setdefault(layer, set()).update(int(h) for h in heads)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise CheckpointError(f"config: pruned_heads should map layers to heads, not {excerpt(value)}") from None
    return {layer: sorted(heads) for layer, heads in found.items()}
