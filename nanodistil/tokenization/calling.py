"""One call: checked texts and the arguments of a call in, a BatchEncoding out.

The work is the encoder's (encoder.py); what is here is what the arguments ask of it: which length to cut and to pad to,
whether the windows after the first become rows, and which lists come back, of what kind.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from nanodistil.tokenization.arguments import TENSORS, one_of, whole_number, yes_or_no
from nanodistil.tokenization.batch_encoding import BatchEncoding
from nanodistil.tokenization.encoder import around
from nanodistil.tokenization.encodings import Padding, same_width
from nanodistil.tokenization.strategies import padding_token, strategies
from nanodistil.tokenization.texts import Pairs
from nanodistil.tokenization.truncation import Truncation
from nanodistil.torch_tensors import as_tensor, imported
from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.tokenization.encodings import Encodings
    from nanodistil.tokenization.rows import Rows
    from nanodistil.tokenization.tokenizer import DistilBertTokenizer

SIDES = ("left", "right")


def encoded(
    tokenizer: DistilBertTokenizer,
    pairs: Pairs,
    single: bool,
    *,
    is_split_into_words: bool = False,
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
    split_special_tokens: bool = False,
) -> BatchEncoding[Any]:
    """The rows of `pairs`; `single`: a text on its own, whose lists come without an outer one.

    The arguments are those of DistilBertTokenizer.__call__. Raises InputError for those that cannot be.
    """
    return_tensors = one_of("return_tensors", return_tensors, TENSORS)
    framed = yes_or_no("add_special_tokens", add_special_tokens)
    split = yes_or_no("split_special_tokens", split_special_tokens)
    pad_to = None if pad_to_multiple_of is None else whole_number("pad_to_multiple_of", pad_to_multiple_of, 1)
    if padding_side is not None:
        one_of("padding_side", padding_side, SIDES)
    stride = whole_number("stride", stride, 0)
    pad, strategy, length = strategies(tokenizer, padding, truncation, max_length, pad_to, verbose)
    cut = None
    if strategy and length is not None:
        if 0 <= length - around(False) < stride:
            raise InputError(f"stride={stride} does not fit max_length={length} and the special tokens; lower it")
        side = one_of("truncation_side", tokenizer.truncation_side, SIDES)
        cut = Truncation(strategy, length, stride, side, bool(return_overflowing_tokens))

    token, number = padding_token(tokenizer) if pad else ("", 0)
    rows = tokenizer.encoder.rows(pairs, framed, cut, split, is_split_into_words)
    longest = rows.longest()
    if max_length is None and not cut and longest > tokenizer.model_max_length > 0:
        tokenizer.warn_once(
            f"a text of {longest} tokens is longer than the {tokenizer.model_max_length} the model takes; "
            "pass truncation=True, or the model will refuse it",
            verbose,
        )
    if pad:
        side = one_of("padding_side", padding_side or tokenizer.padding_side, SIDES)
        width = length or 0 if pad == "max_length" else longest
        if pad_to:
            width = -(-width // pad_to) * pad_to
        rows.pad(Padding(width, number, token, side))

    names = tokenizer.model_input_names
    wanted = {
        "input_ids": True,
        "token_type_ids": "token_type_ids" in names if return_token_type_ids is None else return_token_type_ids,
        "attention_mask": "attention_mask" in names if return_attention_mask is None else return_attention_mask,
        "special_tokens_mask": return_special_tokens_mask,
        "offset_mapping": return_offsets_mapping,
        "length": return_length,
        "overflow_to_sample_mapping": return_overflowing_tokens,
    }
    if return_tensors:
        same_width(rows.lists("length"))  # now, and not when somebody looks at an array
    make = rows.array if return_tensors else rows.only if single and not return_overflowing_tokens else rows.lists
    if return_tensors == "pt":
        imported()  # now, too
        make = partial(tensor_of, rows)
    values = {key: partial(make, key) for key, on in wanted.items() if on}
    return BatchEncoding.made_when_asked_for(values, rows.encoding, len(rows))


def tensor_of(rows: Rows | Encodings, key: str) -> Any:
    """The rows' array as PyTorch's tensor."""
    return as_tensor(rows.array(key))
