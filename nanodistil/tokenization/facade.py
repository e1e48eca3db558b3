"""A tokenizer as users know it: texts in, ids out, and back; the calling surface of transformers on top of the verbs.

A text goes through five hands: the added tokens ([MASK], ...) are cut out, what lies between becomes pieces, the pair
is truncated, special tokens are put around, and the batch is padded. There is one class where transformers has two: the
results are those of its fast one (4.57.6 with tokenizers 0.22.2).

The class is the counter where all of that is asked for; the work is done elsewhere, on a State (state.py): calling.py
answers a call, padding.py and ready_ids.py take ids that exist already, converting.py goes the way back, adding.py adds
tokens, saving.py writes files. A class for users has a kind (kind.py), in which alone it differs from another.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, Unpack, overload

from nanodistil.loading_arguments import OF_TOKENIZERS, Source, located
from nanodistil.signatures import spelled_out as with_source
from nanodistil.tokenization import adding, converting, decoding, padding, ready_ids, saving
from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.arguments import SIDES, one_of, yes_or_no
from nanodistil.tokenization.batch_encoding import BatchEncoding
from nanodistil.tokenization.call_arguments import All, CallArguments, Rest, spelled_out
from nanodistil.tokenization.calling import answer
from nanodistil.tokenization.construction import files_of, refuse_others
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.encoder import Encoder
from nanodistil.tokenization.pieces import PieceMaker
from nanodistil.tokenization.settings import read_settings
from nanodistil.tokenization.special_tokens import MORE, SPECIAL, SpecialTokens, Token
from nanodistil.tokenization.state import State
from nanodistil.tokenization.texts import single_text, texts_of_batch, texts_of_call
from nanodistil.tokenization.tokenizer_json import read_tokenizer_json
from nanodistil.tokenization.training.new_tokenizer import train_new_from_iterator
from nanodistil.weights.errors import InputError, ModelNotFoundError, excerpt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Batch: TypeAlias = "list[Any] | tuple[Any, ...]"

NO_LIMIT = int(1e30)  # model_max_length if no file gives one, as in transformers


class Tokenizer(State):
    """What all tokenizers have in common. A class over it sets `kind` and `tokenizer_class`.

    vocab_file or tokenizer_file: the kind's vocabulary, or tokenizer.json (or its Description), which wins if both are
    given. clean_up_tokenization_spaces: whether `decode` tidies up; None means True with a vocabulary and False with a
    tokenizer.json, transformers' choice. split_special_tokens: whether a [MASK] in a text is text like any other.
    others: unk_token, mask_token and the other roles, by default the kind's; and of transformers' arguments those that
    change nothing (construction.py). Raises CheckpointError for a file that is broken or of another kind, InputError
    for arguments of a wrong sort.
    """

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        *,
        tokenizer_file: str | Path | Description | None = None,
        additional_special_tokens: Iterable[Token] = (),
        added_tokens_decoder: dict[int, AddedToken] | None = None,
        model_max_length: float | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        model_input_names: list[str] | None = None,
        split_special_tokens: bool = False,
        **others: Any,
    ) -> None:
        self.name_or_path = str(others.pop("name_or_path", None) or "")
        given = {role: others.pop(role, self.kind.roles.get(role)) for role in SPECIAL}
        refuse_others(others, type(self))
        if "" in map(str, given.values()):
            raise InputError("a special token is empty; name it, or pass None where the tokenizer has none")
        self.roles = SpecialTokens(given, additional_special_tokens)
        self.split_special_tokens = yes_or_no("split_special_tokens", split_special_tokens)
        if model_max_length is not None and not 0 <= model_max_length < float("inf"):
            raise InputError(f"model_max_length={excerpt(model_max_length)}: must be a number of tokens, or left out")
        self.model_max_length = NO_LIMIT if model_max_length is None else int(model_max_length)

        description, pieces = self._described(vocab_file, tokenizer_file)
        self.clean_up_tokenization_spaces = (
            tokenizer_file is None if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        self.padding_side = one_of("padding_side", padding_side or description.padding_side, SIDES)
        self.truncation_side = one_of("truncation_side", truncation_side or description.truncation_side, SIDES)
        if model_input_names is not None and not model_input_names:
            raise InputError("model_input_names is empty: a model is given input_ids at least; leave it out")
        self.model_input_names = list(self.kind.classes.own.inputs if model_input_names is None else model_input_names)

        self.encoder = Encoder(description, pieces, self.kind.compiled, self.kind.finish)
        adding.add_from_files(self, description.added)
        decoder = sorted((added_tokens_decoder or {}).items())
        roles = self.all_special_tokens
        adding.add_from_files(self, [(i, t.as_special(t.special or t.content in roles)) for i, t in decoder])
        self.roles.mark_as_special(keep_normalized=tokenizer_file is None)  # transformers copies them there
        held = self.encoder.added.ids
        specials = [token for token in self.roles.all_with_flags() if not (isinstance(token, str) and token in held)]
        self.encoder.add([adding.with_flags(token, special=True) for token in specials])
        self.encoder.added.normalize_from_now_on(pieces.normalizer.text)
        self._warned = set()

    def _described(
        self, vocab_file: str | Path | None, tokenizer_file: str | Path | Description | None
    ) -> tuple[Description, PieceMaker]:
        """What the files say, and how the class cuts texts: as they say, unless it knows better."""
        if isinstance(tokenizer_file, Description):
            description = tokenizer_file
        elif tokenizer_file is not None:
            description = read_tokenizer_json(Path(tokenizer_file), self.kind)
        elif vocab_file is not None:
            special = {role: str(token) for role, token in self.roles.named() if role != MORE}
            description = self.kind.from_vocabulary(Path(vocab_file), special)
        else:
            raise InputError("a tokenizer needs a vocab_file or a tokenizer_file; or use from_pretrained")
        return description, description.pieces

    @classmethod
    @with_source(Source, more=True, local_files_only=False)
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **overrides: Any) -> Self:
        """The tokenizer of a folder or of a model id, with the settings of its files; `overrides` win over them.

        Raises ModelNotFoundError if there is none, CheckpointError if its files are broken.
        """
        asked, folder = located(pretrained_model_name_or_path, overrides, OF_TOKENIZERS, "tokenizer")
        asked.check_folder(folder, "tokenizer_config.json")
        tokenizer_json, vocabulary = files_of(folder, overrides, cls.kind.vocabulary_file)
        overrides.setdefault("name_or_path", pretrained_model_name_or_path)
        if tokenizer_json.is_file():
            description = read_tokenizer_json(tokenizer_json, cls.kind)
            settings, name = read_settings(folder, overrides, cls.kind, description)
            made = cls(tokenizer_file=description, **settings)
        elif vocabulary.is_file():
            settings, name = read_settings(folder, overrides, cls.kind)
            made = cls(vocabulary, **settings)
        else:
            raise ModelNotFoundError(
                f"{folder}: holds neither tokenizer.json nor {cls.kind.vocabulary_file}; get the files again"
            )
        made.tokenizer_class = name
        return made

    save_pretrained = saving.save_pretrained
    save_vocabulary = saving.save_vocabulary

    # ---- texts to ids

    @overload
    def __call__(
        self, text: str, text_pair: str | None = None, *, return_tensors: None = None, **rest: Unpack[Rest]
    ) -> BatchEncoding[list[int]]: ...
    @overload
    def __call__(
        self, text: Batch, text_pair: Batch | None = None, *, return_tensors: None = None, **rest: Unpack[Rest]
    ) -> BatchEncoding[list[list[int]]]: ...
    @overload
    def __call__(
        self, text: Any = None, text_pair: Any = None, *, return_tensors: Literal["np"], **rest: Unpack[All]
    ) -> BatchEncoding[NDArray[np.int64]]: ...
    @overload
    def __call__(
        self, text: Any = None, text_pair: Any = None, *, return_tensors: str | None = None, **rest: Unpack[All]
    ) -> BatchEncoding[Any]: ...
    @spelled_out()
    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        *by_place: Any,
        **by_name: Any,
    ) -> BatchEncoding[Any]:
        """Encode a text, a pair, a list of texts, or a list of pairs; with is_split_into_words each given as words.

        padding: False, True or "longest", "max_length". truncation: None, True or "longest_first", "only_first",
        "only_second". max_length: in tokens, specials included; the model's own if not given. stride: tokens that
        windows share, if return_overflowing_tokens makes rows of all of them, with "overflow_to_sample_mapping" to
        say which text each is from. text_target: texts whose ids are returned as "labels". return_tensors: None for
        lists, "np" for int64 arrays, (B, T), "pt" for PyTorch's tensors. split_special_tokens: None means as the
        tokenizer was made.

        Returns lists of ids, T for one text and B x T for several, under "input_ids", and what else was asked for.
        Raises InputError for texts that are no strings or hold lone surrogates, and for arguments out of range.
        """
        if not by_place and by_name.get("split_special_tokens") is None:
            by_name["split_special_tokens"] = self.split_special_tokens  # at once, for a value is not made twice
        asked = CallArguments.given(f"{type(self).__name__}.__call__", by_place, by_name)
        if asked.split_special_tokens is None:
            asked = asked._replace(split_special_tokens=self.split_special_tokens)
        words = yes_or_no("is_split_into_words", asked.is_split_into_words)
        if text is None and text_target is None:
            raise InputError("there is nothing to encode; pass text, text_target or both")
        if text is None:
            return answer(self, *texts_of_call(text_target, text_pair_target, words), asked)
        batch = answer(self, *texts_of_call(text, text_pair, words), asked)
        if text_target is not None:
            target = answer(self, *texts_of_call(text_target, text_pair_target, words), asked)
            batch["labels"] = target["input_ids"]
        return batch

    @spelled_out()
    def encode_plus(self, text: Any, text_pair: Any = None, *by_place: Any, **by_name: Any) -> BatchEncoding[Any]:
        """The same for one text or pair, which may also come as one argument with two texts in it."""
        by_name.setdefault("split_special_tokens", self.split_special_tokens)
        asked = CallArguments.given("encode_plus", by_place, by_name)
        words = yes_or_no("is_split_into_words", asked.is_split_into_words)
        return answer(self, [single_text(text, text_pair, words)], True, asked)

    @spelled_out()
    def batch_encode_plus(self, batch_text_or_text_pairs: Any, *by_place: Any, **by_name: Any) -> BatchEncoding[Any]:
        """The same for a list of texts or pairs. Special tokens are split only if this call says so."""
        by_name.setdefault("split_special_tokens", False)
        asked = CallArguments.given("batch_encode_plus", by_place, by_name)
        words = yes_or_no("is_split_into_words", asked.is_split_into_words)
        return answer(self, texts_of_batch(batch_text_or_text_pairs, words), False, asked)

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **arguments: Any) -> Any:
        """The ids of one text or pair; arguments as for a call."""
        return self.encode_plus(text, text_pair, add_special_tokens, **arguments)["input_ids"]

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **arguments: Any) -> list[str]:
        """The pieces of one text or pair, as text."""
        return self.encode_plus(text, pair, add_special_tokens, **arguments).tokens()

    # ---- ids that exist already, and back to texts

    pad = padding.pad
    prepare_for_model = ready_ids.prepare_for_model
    truncate_sequences = ready_ids.truncate_sequences
    build_inputs_with_special_tokens = ready_ids.build_inputs_with_special_tokens
    create_token_type_ids_from_sequences = ready_ids.create_token_type_ids_from_sequences
    get_special_tokens_mask = ready_ids.get_special_tokens_mask
    decode = converting.decode
    batch_decode = converting.batch_decode
    convert_tokens_to_string = converting.convert_tokens_to_string
    convert_tokens_to_ids = converting.convert_tokens_to_ids
    convert_ids_to_tokens = converting.convert_ids_to_tokens
    clean_up_tokenization = staticmethod(decoding.clean_up)

    @property
    def max_len_single_sentence(self) -> int:
        """Tokens of a text that leave room for the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(False)

    @property
    def max_len_sentences_pair(self) -> int:
        """The same for a pair, together."""
        return self.model_max_length - self.num_special_tokens_to_add(True)

    # ---- new tokens

    add_tokens = adding.add_tokens
    add_special_tokens = adding.add_special_tokens
    sanitize_special_tokens = adding.sanitize_special_tokens

    # ---- a new vocabulary

    train_new_from_iterator = train_new_from_iterator
