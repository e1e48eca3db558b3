"""Ids that exist already, cut and framed.

These are the old ways, from before a call could do it all, and data collators still use them. They follow the plain
Python code that the reference keeps for them, not its fast tokenizer: a pair that must shrink gives its odd token away
on the other side, what was cut off comes back as "overflowing_tokens" in place of more rows, and a text that is too
short to be cut stays as it is, with a warning. The special tokens are those that have the roles now.
"""

from __future__ import annotations

import logging
from typing import Any

from nanodistil.tokenization.arguments import SIDES, TRUNCATION, id_list, number, one_of, whole_number
from nanodistil.tokenization.batch_encoding import BatchEncoding
from nanodistil.tokenization.call_arguments import CallArguments, spelled_out
from nanodistil.tokenization.padding import pad
from nanodistil.tokenization.state import State
from nanodistil.tokenization.strategies import multiple_of, padding_token, strategies
from nanodistil.weights.errors import InputError

logger = logging.getLogger("nanodistil.tokenization")


@spelled_out("is_split_into_words", "split_special_tokens", prepend_batch_axis=False)
def prepare_for_model(
    state: State,
    ids: list[int],
    pair_ids: list[int] | None = None,
    *by_place: Any,
    prepend_batch_axis: bool = False,
    **by_name: Any,
) -> BatchEncoding[Any]:
    """Ids without special tokens, as a model takes them; arguments as for a call.

    return_offsets_mapping is there for the reference's sake: ids have no offsets. With return_overflowing_tokens the
    ids cut off come as "overflowing_tokens", their number as "num_truncated_tokens", negative if there was room.
    Raises InputError as a call does, and for combinations that mean nothing here.
    """
    of_texts = ("is_split_into_words", "split_special_tokens")
    asked = CallArguments.given("prepare_for_model", by_place, by_name, of_texts)
    multiple = multiple_of(asked.pad_to_multiple_of)
    side = one_of("padding_side", state.padding_side if asked.padding_side is None else asked.padding_side, SIDES)
    plan = strategies(state, asked.padding, asked.truncation, asked.max_length, multiple, asked.verbose)
    ids, second = id_list(ids), None if pair_ids is None else id_list(pair_ids)
    if asked.return_token_type_ids and not asked.add_special_tokens:
        raise InputError("return_token_type_ids without add_special_tokens means nothing; leave one of them out")
    if asked.return_overflowing_tokens and plan.cut == "longest_first" and second is not None:
        raise InputError("return_overflowing_tokens for a pair needs truncation='only_first' or 'only_second'")
    if asked.return_special_tokens_mask and asked.add_special_tokens:
        raise InputError("return_special_tokens_mask needs a text: call the tokenizer with one")
    masked = state.wants("attention_mask", asked.return_attention_mask)

    total = len(ids) + len(second or ())
    if asked.add_special_tokens:
        total += state.num_special_tokens_to_add(second is not None)
    out: dict[str, Any] = {}
    overflowing: list[int] = []
    if plan.cut and plan.length and total > plan.length:
        ids, second, overflowing = truncate_sequences(state, ids, second, total - plan.length, plan.cut, asked.stride)
    if asked.return_overflowing_tokens:
        if plan.length is None:
            raise InputError("return_overflowing_tokens needs a max_length; pass one")
        out["overflowing_tokens"], out["num_truncated_tokens"] = overflowing, total - plan.length
    if asked.add_special_tokens:
        out["input_ids"] = build_inputs_with_special_tokens(state, ids, second)
        types = create_token_type_ids_from_sequences(state, ids, second)
    else:
        out["input_ids"] = ids + (second or [])
        types = [0] * len(out["input_ids"])
    if state.wants("token_type_ids", asked.return_token_type_ids):
        out["token_type_ids"] = types
    if asked.return_special_tokens_mask:
        out["special_tokens_mask"] = [0] * len(out["input_ids"])
    n, limit = len(out["input_ids"]), state.model_max_length
    if asked.max_length is None and plan.length is None and n > limit > 0:
        state.warn_once(f"a text of {n} tokens is longer than the {limit} the model takes; truncate it", asked.verbose)
    if plan.pad:
        padding_token(state)  # or it is refused, also if there is nothing to pad
    if plan.pad or masked:
        out = dict(pad(state, out, plan.pad or False, plan.length if plan.pad else None, multiple, side, masked))
    if asked.return_length:
        out["length"] = len(out["input_ids"])
    return BatchEncoding(out, None, asked.return_tensors, prepend_batch_axis)


def truncate_sequences(
    state: State,
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
    side = one_of("truncation_side", state.truncation_side, SIDES)
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
    state: State, token_ids_0: list[int], token_ids_1: list[int] | None = None
) -> list[int]:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP]. Raises InputError for a tokenizer that lacks one of these.

    PreTrainedTokenizerFast has no such rule, and puts nothing between the two.
    """
    template = state.template_of_roles()
    if template is None:
        raise InputError("this tokenizer has no cls_token or no sep_token; set it, or add no special tokens")
    return template.ids(id_list(token_ids_0), None if token_ids_1 is None else id_list(token_ids_1))


def create_token_type_ids_from_sequences(
    state: State, token_ids_0: list[int], token_ids_1: list[int] | None = None
) -> list[int]:
    """The types of what build_inputs_with_special_tokens makes: 1 for B and the last [SEP], else 0."""
    n, m = len(id_list(token_ids_0)), None if token_ids_1 is None else len(id_list(token_ids_1))
    return state.kind.framing.filled(state.role_and_id).types(n, m)


def get_special_tokens_mask(
    state: State, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
) -> list[int]:
    """1 for every special token among ids that have theirs already. Raises InputError for others."""
    if not already_has_special_tokens or token_ids_1 is not None:
        raise InputError(
            "only for ids with their special tokens: pass already_has_special_tokens=True and one list, "
            "or return_special_tokens_mask=True to the call"
        )
    special = set(state.all_special_ids)
    return [int(token in special) for token in id_list(token_ids_0)]


def _without(ids: list[int], count: int, side: str, stride: int = 0) -> tuple[list[int], list[int]]:
    window = min(len(ids), stride + count)
    if side == "right":
        return ids[: max(0, len(ids) - count)], ids[len(ids) - window :]
    return ids[count:], ids[:window]
