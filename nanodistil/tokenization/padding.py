"""Ids that exist already, padded: a dict of lists, or a list of dicts, as data collators hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nanodistil.tokenization.arguments import SIDES, id_list, one_of
from nanodistil.tokenization.batch_encoding import BatchEncoding
from nanodistil.tokenization.state import State
from nanodistil.tokenization.strategies import multiple_of, padding_token, rounded_up, strategies
from nanodistil.torch_tensors import is_tensor
from nanodistil.weights.errors import InputError


def pad(
    state: State,
    encoded_inputs: Any,
    padding: Any = True,
    max_length: int | None = None,
    pad_to_multiple_of: int | None = None,
    padding_side: str | None = None,
    return_attention_mask: bool | None = None,
    return_tensors: str | None = None,
    verbose: bool = True,
) -> Any:
    """Pad "input_ids" with what belongs to them: "attention_mask", "token_type_ids", "special_tokens_mask".

    encoded_inputs: a dict of lists for one text, of lists of lists for batched, or a list of dicts; a BatchEncoding is
    a dict too. Other values are returned as they came. Raises InputError for what is none of these, and for rows that
    make no array if arrays are asked for.
    """
    if isinstance(encoded_inputs, list | tuple):
        if not encoded_inputs or not all(isinstance(item, Mapping) for item in encoded_inputs):
            raise InputError("pad takes a dict of lists or a list of such dicts, and at least one")
        names = list(encoded_inputs[0])
        if any(name not in item for item in encoded_inputs for name in names):
            raise InputError(f"every dict must have the keys of the first: {', '.join(names)}")
        encoded_inputs = {name: [item[name] for item in encoded_inputs] for name in names}
    main = state.model_input_names[0]
    if not isinstance(encoded_inputs, Mapping) or main not in encoded_inputs:
        raise InputError(f"pad takes a dict of lists with {main!r} among them, or a list of such dicts")
    inputs = dict(encoded_inputs)
    if not isinstance(inputs[main], list | tuple | None) and not hasattr(inputs[main], "tolist"):
        raise InputError(f"{main} must be a list of ids, or a list of such lists")
    if inputs[main] is None or len(inputs[main]) == 0:
        return BatchEncoding({**inputs, "attention_mask": []} if return_attention_mask else inputs)
    if any(hasattr(row, "tolist") and hasattr(row, "__len__") for row in inputs[main]):
        return_tensors = return_tensors or ("pt" if any(map(is_tensor, inputs[main])) else "np")
        inputs = {name: _lists(value) for name, value in inputs.items()}

    multiple = multiple_of(pad_to_multiple_of)
    side = one_of("padding_side", state.padding_side if padding_side is None else padding_side, SIDES)
    masked = state.wants("attention_mask", return_attention_mask)
    strategy, _, length = strategies(state, padding, None, max_length, None, verbose)
    batched = isinstance(inputs[main][0], list | tuple)
    rows = inputs[main] if batched else [inputs[main]]
    if batched and any(not hasattr(value, "__len__") or len(value) != len(rows) for value in inputs.values()):
        raise InputError(f"there are {len(rows)} rows of {main}, but not of every other value; leave those out")
    if not all(isinstance(row, list | tuple) for row in rows):
        raise InputError(f"{main} must be a list of ids, or a list of such lists")
    if strategy == "longest":
        length = max(map(len, rows))
    if length is not None:
        length = rounded_up(length, multiple)
    fillers = {main: padding_token(state)[1] if strategy else 0, "token_type_ids": 0, "special_tokens_mask": 1}
    if masked:
        fillers["attention_mask"] = 0

    out: dict[str, list[Any]] = {}
    for i, ids in enumerate(rows):
        id_list(ids)
        row = {name: value[i] if batched else value for name, value in inputs.items()}
        if masked:
            row.setdefault("attention_mask", [1] * len(ids))
        missing = max(0, (length or 0) - len(ids)) if strategy else 0
        for name, filler in fillers.items():
            if missing and name in row:
                extra = [filler] * missing
                row[name] = [*row[name], *extra] if side == "right" else [*extra, *row[name]]
        for name, value in row.items():
            out.setdefault(name, []).append(value)
    return BatchEncoding(out if batched else {name: value[0] for name, value in out.items()}, None, return_tensors)


def _lists(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
