"""One call: checked texts and the arguments of a call in, a BatchEncoding out.

The work is the encoder's (encoder.py); what is here is what the arguments ask of it: which length to cut and to pad to,
whether the windows after the first become rows, and which lists come back, of what kind.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from nanodistil.tokenization.arguments import SIDES, TENSORS, one_of, whole_number, yes_or_no
from nanodistil.tokenization.batch_encoding import BatchEncoding
from nanodistil.tokenization.call_arguments import CallArguments
from nanodistil.tokenization.encodings import Encodings, Padding, same_width
from nanodistil.tokenization.state import State
from nanodistil.tokenization.strategies import Strategies, multiple_of, padding_token, rounded_up, strategies
from nanodistil.tokenization.texts import Pairs
from nanodistil.tokenization.truncation import Truncation
from nanodistil.torch_tensors import as_tensor, imported
from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.tokenization.scanned import Scanned


def answer(state: State, pairs: Pairs, single: bool, asked: CallArguments) -> BatchEncoding[Any]:
    """The rows of `pairs`; `single`: a text on its own, whose lists come without an outer one.

    Raises InputError for arguments that cannot be.
    """
    tensors = one_of("return_tensors", asked.return_tensors, TENSORS)
    framed = yes_or_no("add_special_tokens", asked.add_special_tokens)
    split = yes_or_no("split_special_tokens", asked.split_special_tokens)
    multiple = multiple_of(asked.pad_to_multiple_of)
    if asked.padding_side is not None:
        one_of("padding_side", asked.padding_side, SIDES)
    stride = whole_number("stride", asked.stride, 0)
    plan = strategies(state, asked.padding, asked.truncation, asked.max_length, multiple, asked.verbose)
    if asked.is_split_into_words and not state.takes_words:
        raise InputError("texts given as words need a tokenizer made with add_prefix_space=True")
    cut = _truncation(state, plan, stride, bool(asked.return_overflowing_tokens))
    token, number = padding_token(state) if plan.pad else ("", 0)
    rows = state.encoder.rows(pairs, framed, cut, split, asked.is_split_into_words)
    longest = rows.longest()
    if asked.max_length is None and not cut and longest > state.model_max_length > 0:
        state.warn_once(
            f"a text of {longest} tokens is longer than the {state.model_max_length} the model takes; "
            "pass truncation=True, or the model will refuse it",
            asked.verbose,
        )
    if plan.pad:
        side = one_of("padding_side", asked.padding_side or state.padding_side, SIDES)
        width = rounded_up(plan.length or 0 if plan.pad == "max_length" else longest, multiple)
        rows.pad(Padding(width, number, token, side))
    return _returned(state, rows, single, tensors, asked)


def _truncation(state: State, plan: Strategies, stride: int, rest: bool) -> Truncation | None:
    """How texts are cut; None if they are not. Raises InputError."""
    if not plan.cut or plan.length is None:
        return None
    if 0 <= plan.length - state.num_special_tokens_to_add() < stride:
        raise InputError(f"stride={stride} does not fit max_length={plan.length} and the special tokens; lower it")
    return Truncation(plan.cut, plan.length, stride, one_of("truncation_side", state.truncation_side, SIDES), rest)


def _returned(
    state: State, rows: Scanned | Encodings, single: bool, tensors: str | None, asked: CallArguments
) -> BatchEncoding[Any]:
    """The lists or arrays that were asked for, each made when somebody looks at it."""
    wanted = {
        "input_ids": True,
        "token_type_ids": state.wants("token_type_ids", asked.return_token_type_ids),
        "attention_mask": state.wants("attention_mask", asked.return_attention_mask),
        "special_tokens_mask": asked.return_special_tokens_mask,
        "offset_mapping": asked.return_offsets_mapping,
        "length": asked.return_length,
        "overflow_to_sample_mapping": asked.return_overflowing_tokens,
    }
    if tensors:
        same_width(rows.lists("length"))  # now, and not when somebody looks at an array
    make = rows.array if tensors else rows.only if single and not asked.return_overflowing_tokens else rows.lists
    if tensors == "pt":
        imported()  # now, too
        make = partial(tensor_of, rows)
    values = {key: partial(make, key) for key, on in wanted.items() if on}
    return BatchEncoding.made_when_asked_for(values, rows.encoding, len(rows))


def tensor_of(rows: Scanned | Encodings, key: str) -> Any:
    """The rows' array as PyTorch's tensor."""
    return as_tensor(rows.array(key))
