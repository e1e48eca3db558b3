"""Ids that exist already, padded, cut, and framed: methods of DistilBertTokenizer, which is their first argument.

These are the old ways, from before a call could do it all, and data collators still use them. They follow the plain
Python code that the reference keeps for them, not its fast tokenizer: a pair that must shrink gives its odd token away
on the other side, what was cut off comes back as "overflowing_tokens" in place of more rows, and a text that is too
short to be cut stays as it is, with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nanodistil.tokenization.arguments import TRUNCATION, id_list, number, one_of, whole_number
from nanodistil.tokenization.batch_encoding import BatchEncoding
from nanodistil.tokenization.conventions import PLAIN
from nanodistil.tokenization.strategies import padding_token, strategies
from nanodistil.torch_tensors import is_tensor
from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.tokenization.tokenizer import DistilBertTokenizer

logger = logging.getLogger("nanodistil.tokenization")
SIDES = ("left", "right")


def pad(
    tokenizer: DistilBertTokenizer,
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

    encoded_inputs: a dict of lists for one text, of lists of lists for several, or a list of dicts; a BatchEncoding is
    a dict too. Other values are returned as they came. Raises InputError for what is none of these, and for rows that
    make no array where arrays are asked for.
    """
    if isinstance(encoded_inputs, list | tuple):
        if not encoded_inputs or not all(isinstance(item, Mapping) for item in encoded_inputs):
            raise InputError("pad takes a dict of lists or a list of such dicts, and at least one")
        names = list(encoded_inputs[0])
        if any(name not in item for item in encoded_inputs for name in names):
            raise InputError(f"every dict must have the keys of the first: {', '.join(names)}")
        encoded_inputs = {name: [item[name] for item in encoded_inputs] for name in names}
    main = tokenizer.model_input_names[0]
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

    pad_to = None if pad_to_multiple_of is None else whole_number("pad_to_multiple_of", pad_to_multiple_of, 1)
    side = one_of("padding_side", tokenizer.padding_side if padding_side is None else padding_side, SIDES)
    masked = "attention_mask" in tokenizer.model_input_names if return_attention_mask is None else return_attention_mask
    strategy, _, length = strategies(tokenizer, padding, None, max_length, None, verbose)
    several = isinstance(inputs[main][0], list | tuple)
    rows = inputs[main] if several else [inputs[main]]
    if several and any(not hasattr(value, "__len__") or len(value) != len(rows) for value in inputs.values()):
        raise InputError(f"there are {len(rows)} rows of {main}, but not of every other value; leave those out")
    if not all(isinstance(row, list | tuple) for row in rows):
        raise InputError(f"{main} must be a list of ids, or a list of such lists")
    if strategy == "longest":
        length = max(map(len, rows))
    if length is not None and pad_to:
        length = -(-length // pad_to) * pad_to
    fillers = {main: padding_token(tokenizer)[1] if strategy else 0, "token_type_ids": 0, "special_tokens_mask": 1}
    if masked:
        fillers["attention_mask"] = 0

    out: dict[str, list[Any]] = {}
    for i, ids in enumerate(rows):
        id_list(ids)
        row = {name: value[i] if several else value for name, value in inputs.items()}
        if masked:
            row.setdefault("attention_mask", [1] * len(ids))
        missing = max(0, (length or 0) - len(ids)) if strategy else 0
        for name, filler in fillers.items():
            if missing and name in row:
                extra = [filler] * missing
                row[name] = [*row[name], *extra] if side == "right" else [*extra, *row[name]]
        for name, value in row.items():
            out.setdefault(name, []).append(value)
    return BatchEncoding(out if several else {name: value[0] for name, value in out.items()}, None, return_tensors)


def _lists(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def prepare_for_model(
    tokenizer: DistilBertTokenizer,
    ids: list[int],
    pair_ids: list[int] | None = None,
    add_special_tokens: bool = True,
    padding: Any = False,
    truncation: Any = None,
    max_length: int | None = None,
    stride: int = 0,
    pad_to_multiple_of: int | None = None,
    padding_side: str | None = None,
    return_tensors: str | None = None,
    return_token_type_ids: bool | None = None,
    return_attention_mask: bool | None = None,
    return_overflowing_tokens: bool = False,
    return_special_tokens_mask: bool = False,
    return_offsets_mapping: bool = False,
    return_length: bool = False,
    verbose: bool = True,
    prepend_batch_axis: bool = False,
) -> BatchEncoding[Any]:
    """Ids without special tokens, as a model takes them; arguments as for a call.

    return_offsets_mapping is there for the reference's sake: ids have no offsets. With return_overflowing_tokens the
    ids cut off come as "overflowing_tokens", their number as "num_truncated_tokens", negative where there was room.
    Raises InputError as a call does, and for combinations that mean nothing here.
    """
    pad_to = None if pad_to_multiple_of is None else whole_number("pad_to_multiple_of", pad_to_multiple_of, 1)
    side = one_of("padding_side", tokenizer.padding_side if padding_side is None else padding_side, SIDES)
    pad_how, cut, length = strategies(tokenizer, padding, truncation, max_length, pad_to, verbose)
    ids, second = id_list(ids), None if pair_ids is None else id_list(pair_ids)
    if return_token_type_ids and not add_special_tokens:
        raise InputError("return_token_type_ids without add_special_tokens means nothing; leave one of them out")
    if return_overflowing_tokens and cut == "longest_first" and second is not None:
        raise InputError("return_overflowing_tokens for a pair needs truncation='only_first' or 'only_second'")
    if return_special_tokens_mask and add_special_tokens:
        raise InputError("return_special_tokens_mask needs a text: call the tokenizer with one")
    names = tokenizer.model_input_names
    types_wanted = "token_type_ids" in names if return_token_type_ids is None else return_token_type_ids
    masked = "attention_mask" in names if return_attention_mask is None else return_attention_mask

    total = len(ids) + len(second or ())
    if add_special_tokens:
        total += tokenizer.num_special_tokens_to_add(second is not None)
    out: dict[str, Any] = {}
    overflowing: list[int] = []
    if cut and length and total > length:
        excess = total - length
        ids, second, overflowing = truncate_sequences(tokenizer, ids, second, excess, cut, stride)
    if return_overflowing_tokens:
        if length is None:
            raise InputError("return_overflowing_tokens needs a max_length; pass one")
        out["overflowing_tokens"], out["num_truncated_tokens"] = overflowing, total - length
    if add_special_tokens:
        out["input_ids"] = tokenizer.build_inputs_with_special_tokens(ids, second)
        types = tokenizer.create_token_type_ids_from_sequences(ids, second)
    else:
        out["input_ids"] = ids + (second or [])
        types = [0] * len(out["input_ids"])
    if types_wanted:
        out["token_type_ids"] = types
    if return_special_tokens_mask:
        out["special_tokens_mask"] = [0] * len(out["input_ids"])
    n = len(out["input_ids"])
    if max_length is None and length is None and n > tokenizer.model_max_length > 0:
        limit = tokenizer.model_max_length
        tokenizer.warn_once(f"a text of {n} tokens is longer than the {limit} the model takes; truncate it", verbose)
    if pad_how:
        padding_token(tokenizer)  # or it is refused, also where there is nothing to pad
    if pad_how or masked:
        padded = pad(tokenizer, out, pad_how or False, length if pad_how else None, pad_to, side, masked)
        out = dict(padded)
    if return_length:
        out["length"] = len(out["input_ids"])
    return BatchEncoding(out, None, return_tensors, prepend_batch_axis)


def truncate_sequences(
    tokenizer: DistilBertTokenizer,
    ids: list[int],
    pair_ids: list[int] | None = None,
    num_tokens_to_remove: int = 0,
    truncation_strategy: str = "longest_first",
    stride: int = 0,
) -> tuple[list[int], list[int] | None, list[int]]:
    """Both without `num_tokens_to_remove` ids, and the ids taken away with `stride` of those before them.

    What two texts lose by longest_first is not returned. Raises InputError for an unknown strategy or side.

    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> DistilBertTokenizer.from_pretrained("nanodistil-mini").truncate_sequences([1, 2, 3, 4, 5], None, 2, stride=1)
    ([1, 2, 3], None, [3, 4, 5])
    """
    ids, pair_ids = id_list(ids), None if pair_ids is None else id_list(pair_ids)
    stride, excess = whole_number("stride", stride, 0), number("num_tokens_to_remove", num_tokens_to_remove)
    if excess <= 0:
        return ids, pair_ids, []
    strategy = TRUNCATION[one_of("truncation_strategy", truncation_strategy, TRUNCATION)]
    side = one_of("truncation_side", tokenizer.truncation_side, SIDES)
    if strategy == "longest_first" and pair_ids is not None:
        logger.warning("what longest_first takes from a pair is not returned")
        n, m = len(ids), len(pair_ids)
        unequal = min(abs(n - m), excess)
        both = excess - unequal
        from_first, from_second = (unequal + both // 2, both - both // 2) if n > m else (both // 2, excess - both // 2)
        return _without(ids, from_first, side)[0], _without(pair_ids, from_second, side)[0], []
    target = ids if strategy in ("only_first", "longest_first") else pair_ids
    if target is None or strategy is None:
        return ids, pair_ids, []
    if len(target) <= excess:
        logger.warning("a text of %d ids is too short to lose %d; it stays as it is", len(target), excess)
        return ids, pair_ids, []
    kept, lost = _without(target, excess, side, stride)
    return (kept, pair_ids, lost) if target is ids else (ids, kept, lost)


def build_inputs_with_special_tokens(
    tokenizer: DistilBertTokenizer, token_ids_0: list[int], token_ids_1: list[int] | None = None
) -> list[int]:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP]. Raises InputError for a tokenizer that lacks one of these.

    PreTrainedTokenizerFast has no such rule, and puts nothing between the two.
    """
    if tokenizer.tokenizer_class == PLAIN:
        return [*id_list(token_ids_0), *([] if token_ids_1 is None else id_list(token_ids_1))]
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise InputError("this tokenizer has no cls_token or no sep_token; set it, or add no special tokens")
    second = [] if token_ids_1 is None else [*id_list(token_ids_1), tokenizer.sep_token_id]
    return [tokenizer.cls_token_id, *id_list(token_ids_0), tokenizer.sep_token_id, *second]


def create_token_type_ids_from_sequences(
    tokenizer: DistilBertTokenizer, token_ids_0: list[int], token_ids_1: list[int] | None = None
) -> list[int]:
    """The types of what build_inputs_with_special_tokens makes: 1 for B and the last [SEP], else 0."""
    cls, sep = tokenizer.cls_token_id is not None, tokenizer.sep_token_id is not None
    second = 0 if token_ids_1 is None else len(id_list(token_ids_1)) + sep
    return [0] * (cls + len(id_list(token_ids_0)) + sep) + [1] * second


def get_special_tokens_mask(
    tokenizer: DistilBertTokenizer,
    token_ids_0: list[int],
    token_ids_1: list[int] | None = None,
    already_has_special_tokens: bool = False,
) -> list[int]:
    """1 for every special token among ids that have theirs already. Raises InputError for others."""
    if not already_has_special_tokens or token_ids_1 is not None:
        raise InputError(
            "only for ids with their special tokens: pass already_has_special_tokens=True and one list, "
            "or return_special_tokens_mask=True to the call"
        )
    special = set(tokenizer.all_special_ids)
    return [int(token in special) for token in id_list(token_ids_0)]


def _without(ids: list[int], count: int, side: str, stride: int = 0) -> tuple[list[int], list[int]]:
    window = min(len(ids), stride + count)
    if side == "right":
        return ids[: max(0, len(ids) - count)], ids[len(ids) - window :]
    return ids[count:], ids[:window]
