"""DistilBertTokenizer: texts in, ids out, and back; the calling surface of transformers on top of wordpiece.py.

A text goes through five hands: the added tokens ([MASK], ...) are cut out, what lies between becomes pieces, the pair
is truncated, [CLS] and [SEP] are put around, and the batch is padded. There is one class where transformers has two:
the results are those of its fast one (4.57.6 with tokenizers 0.22.2), and DistilBertTokenizerFast is another name.

The class is the counter where all of that is asked for; the work is done elsewhere: texts.py and strategies.py make
sense of what a call was given, calling.py answers it with the help of encoder.py. Whole groups of methods stand in
files of their own, as functions that take the tokenizer first, and are named here: ready_ids.py for ids that exist
already, converting.py for the way back, adding.py for new tokens, saving.py for the files. Warnings that transformers
gives once per tokenizer go to the logger "nanodistil.tokenization".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, overload

from nanodistil.loading_arguments import OF_TOKENIZERS, taken
from nanodistil.tokenization import adding, converting, decoding, ready_ids, saving
from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.arguments import All, Rest, one_of, yes_or_no
from nanodistil.tokenization.batch_encoding import BatchEncoding
from nanodistil.tokenization.calling import SIDES, encoded
from nanodistil.tokenization.construction import files_of, refuse_others
from nanodistil.tokenization.conventions import OWN, TWO
from nanodistil.tokenization.encoder import Encoder, around
from nanodistil.tokenization.settings import SPECIAL, read_settings
from nanodistil.tokenization.special_tokens import MORE, SpecialTokens, Token, role_of
from nanodistil.tokenization.texts import single_text, texts_of_batch, texts_of_call
from nanodistil.tokenization.tokenizer_json import Backend, read_tokenizer_json
from nanodistil.tokenization.vocabulary import backend_of, warn_if_cased
from nanodistil.tokenization.wordpiece import Normalizer
from nanodistil.weights.errors import InputError, ModelNotFoundError, excerpt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Several: TypeAlias = "list[Any] | tuple[Any, ...]"

logger = logging.getLogger("nanodistil.tokenization")

NO_LIMIT = int(1e30)  # model_max_length where no file gives one, as in transformers


class DistilBertTokenizer:
    """A WordPiece vocabulary with DistilBERT's conventions.

    vocab_file or tokenizer_file: vocab.txt, or tokenizer.json (or what read_tokenizer_json made of it), which wins
    where both are given. do_lower_case: for an uncased vocabulary. strip_accents: None means as do_lower_case.
    clean_up_tokenization_spaces: whether `decode` tidies up; None means True with a vocab.txt and False with a
    tokenizer.json, transformers' choice. split_special_tokens: whether a [MASK] in a text is text like any other.

    Of transformers' other arguments those that change nothing are taken (construction.py).

    Raises CheckpointError for a file that is broken or not of a DistilBERT, InputError for arguments of a wrong kind.

    >>> import tempfile, pathlib
    >>> vocab = pathlib.Path(tempfile.mkdtemp()) / "vocab.txt"
    >>> _ = vocab.write_text("\\n".join("[PAD] [UNK] [CLS] [SEP] [MASK] hello world ! un ##able".split()))
    >>> tokenizer = DistilBertTokenizer(vocab)
    >>> tokenizer("Hello [MASK]!", return_offsets_mapping=True)["offset_mapping"]
    [(0, 0), (0, 5), (6, 12), (12, 13), (0, 0)]
    >>> tokenizer(["hello", "Unable, world"], padding=True)["input_ids"]
    [[2, 5, 3, 0, 0, 0], [2, 8, 9, 1, 6, 3]]
    >>> tokenizer.decode([2, 5, 7, 3], skip_special_tokens=True)
    'hello!'
    """

    pad_token_type_id = 0
    model_input_names: list[str] = list(TWO)  # noqa: RUF012  # transformers' name, set per instance
    is_fast = True
    tokenizer_class = OWN  # transformers' name for what the files of this tokenizer are, in tokenizer_config.json

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        do_lower_case: bool = True,
        *,
        tokenizer_file: str | Path | Backend | None = None,
        unk_token: Token | None = "[UNK]",
        sep_token: Token | None = "[SEP]",
        pad_token: Token | None = "[PAD]",
        cls_token: Token | None = "[CLS]",
        mask_token: Token | None = "[MASK]",
        bos_token: Token | None = None,
        eos_token: Token | None = None,
        additional_special_tokens: Iterable[Token] = (),
        added_tokens_decoder: dict[int, AddedToken] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        model_max_length: float | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        model_input_names: list[str] | None = None,
        split_special_tokens: bool = False,
        **others: Any,
    ) -> None:
        self.name_or_path = str(others.pop("name_or_path", None) or "")  # where it was loaded from
        refuse_others(others, type(self))
        given = (bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token)
        if "" in map(str, given):
            raise InputError("a special token is empty; name it, or pass None where the tokenizer has none")
        self.roles = SpecialTokens(dict(zip(SPECIAL, given, strict=True)), additional_special_tokens)
        self.do_lower_case, self.strip_accents = do_lower_case, strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.split_special_tokens = yes_or_no("split_special_tokens", split_special_tokens)
        if model_max_length is not None and not 0 <= model_max_length < float("inf"):
            raise InputError(f"model_max_length={excerpt(model_max_length)}: must be a number of tokens, or left out")
        self.model_max_length = NO_LIMIT if model_max_length is None else int(model_max_length)

        if isinstance(tokenizer_file, Backend):
            backend = tokenizer_file
        elif tokenizer_file is not None:
            backend = read_tokenizer_json(Path(tokenizer_file))
        elif vocab_file is not None:
            backend = backend_of(
                Path(vocab_file), {role: str(token) for role, token in self.roles.named() if role != MORE}
            )
        else:
            raise InputError("a tokenizer needs a vocab_file or a tokenizer_file; or use from_pretrained")
        self.clean_up_tokenization_spaces = (
            tokenizer_file is None if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        self.padding_side = one_of("padding_side", padding_side or backend.padding_side, SIDES)
        self.truncation_side = one_of("truncation_side", truncation_side or backend.truncation_side, SIDES)
        if model_input_names is not None and not model_input_names:
            raise InputError("model_input_names is empty: a model is given input_ids at least; leave it out")
        self.model_input_names = list(self.model_input_names if model_input_names is None else model_input_names)

        normalizer = Normalizer(do_lower_case, strip_accents, tokenize_chinese_chars, backend.clean_text)
        self.encoder = Encoder(backend, normalizer)
        adding.add_from_files(self, backend.added)
        decoder = sorted((added_tokens_decoder or {}).items())
        roles = self.all_special_tokens
        adding.add_from_files(self, [(i, t.as_special(t.special or t.content in roles)) for i, t in decoder])
        self.roles.mark_as_special(keep_normalized=tokenizer_file is None)  # transformers copies them there
        held = self.encoder.added.ids
        specials = [token for token in self.roles.all_with_flags() if not (isinstance(token, str) and token in held)]
        self.encoder.add([adding.with_flags(token, special=True) for token in specials])
        self.encoder.added.normalize_from_now_on(normalizer.text)
        self._warned: set[str] = set()
        if do_lower_case:
            warn_if_cased(backend)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **overrides: Any,
    ) -> DistilBertTokenizer:
        """The tokenizer of a folder or of a model id, with the settings of its files; `overrides` win over them.

        Raises ModelNotFoundError where there is none, CheckpointError where its files are broken.
        """
        from nanodistil.weights.hub import resolve

        asked = taken(overrides, OF_TOKENIZERS)
        folder = resolve(
            asked.within(pretrained_model_name_or_path),
            need="tokenizer",
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=asked.token if token is None else token,
        )
        asked.check_folder(folder, "tokenizer_config.json")
        tokenizer_json, vocab_txt = files_of(folder, overrides)
        overrides.setdefault("name_or_path", pretrained_model_name_or_path)
        if tokenizer_json.is_file():
            backend = read_tokenizer_json(tokenizer_json)
            settings, kind = read_settings(folder, overrides, backend)
            made = cls(tokenizer_file=backend, **settings)
        elif vocab_txt.is_file():
            settings, kind = read_settings(folder, overrides)
            made = cls(vocab_txt, **settings)
        else:
            raise ModelNotFoundError(f"{folder}: holds neither tokenizer.json nor vocab.txt; get the files again")
        made.tokenizer_class = kind
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
        self, text: Several, text_pair: Several | None = None, *, return_tensors: None = None, **rest: Unpack[Rest]
    ) -> BatchEncoding[list[list[int]]]: ...
    @overload
    def __call__(
        self, text: Any = None, text_pair: Any = None, *, return_tensors: Literal["np"], **rest: Unpack[All]
    ) -> BatchEncoding[NDArray[np.int64]]: ...
    @overload
    def __call__(
        self, text: Any = None, text_pair: Any = None, *, return_tensors: str | None = None, **rest: Unpack[All]
    ) -> BatchEncoding[Any]: ...
    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
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
        split_special_tokens: bool | None = None,
    ) -> BatchEncoding[Any]:
        """Encode a text, a pair, a list of texts, or a list of pairs; with is_split_into_words each given as words.

        padding: False, True or "longest", "max_length". truncation: None, True or "longest_first", "only_first",
        "only_second". max_length: in tokens, specials included; the model's own where not given. stride: tokens that
        windows share, where return_overflowing_tokens makes rows of all of them, with "overflow_to_sample_mapping" to
        say which text each is from. text_target: texts whose ids are returned as "labels". return_tensors: None for
        lists, "np" for int64 arrays, (B, T), "pt" for PyTorch's tensors. split_special_tokens: None means as the
        tokenizer was made.

        Returns lists of ids, T for one text and B x T for several, under "input_ids", and what else was asked for.
        Raises InputError for texts that are no strings or hold lone surrogates, and for arguments out of range.
        """
        arguments: dict[str, Any] = {
            "is_split_into_words": is_split_into_words,
            "add_special_tokens": add_special_tokens,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "stride": stride,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
            "split_special_tokens": self.split_special_tokens if split_special_tokens is None else split_special_tokens,
        }
        words = yes_or_no("is_split_into_words", is_split_into_words)
        if text is None and text_target is None:
            raise InputError("there is nothing to encode; pass text, text_target or both")
        if text is None:
            return encoded(self, *texts_of_call(text_target, text_pair_target, words), **arguments)
        batch = encoded(self, *texts_of_call(text, text_pair, words), **arguments)
        if text_target is not None:
            target = encoded(self, *texts_of_call(text_target, text_pair_target, words), **arguments)
            batch["labels"] = target["input_ids"]
        return batch

    def encode_plus(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **arguments: Any
    ) -> BatchEncoding[Any]:
        """The same for one text or pair, which may also come as one argument with two texts in it."""
        words = yes_or_no("is_split_into_words", arguments.get("is_split_into_words", False))
        arguments["add_special_tokens"] = add_special_tokens
        arguments.setdefault("split_special_tokens", self.split_special_tokens)
        return encoded(self, [single_text(text, text_pair, words)], True, **arguments)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Any, add_special_tokens: bool = True, **arguments: Any
    ) -> BatchEncoding[Any]:
        """The same for a list of texts or pairs. Special tokens are split only where this call says so."""
        words = yes_or_no("is_split_into_words", arguments.get("is_split_into_words", False))
        arguments["add_special_tokens"] = add_special_tokens
        return encoded(self, texts_of_batch(batch_text_or_text_pairs, words), False, **arguments)

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **arguments: Any) -> Any:
        """The ids of one text or pair; arguments as for a call."""
        return self.encode_plus(text, text_pair, add_special_tokens, **arguments)["input_ids"]

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **arguments: Any) -> list[str]:
        """The pieces of one text or pair, as text."""
        return self.encode_plus(text, pair, add_special_tokens, **arguments).tokens()

    def warn_once(self, message: str, verbose: bool = True) -> None:
        """Log a warning, unless it was given before, with whatever numbers in it."""
        kind = re.sub(r"\d+", "N", message)
        if verbose and kind not in self._warned:
            self._warned.add(kind)
            logger.warning(message)

    # ---- ids that exist already, and back to texts

    pad = ready_ids.pad
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

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """2 for a text, 3 for a pair."""
        return around(yes_or_no("pair", pair))

    @property
    def max_len_single_sentence(self) -> int:
        """Tokens of a text that leave room for the special ones."""
        return self.model_max_length - around(False)

    @property
    def max_len_sentences_pair(self) -> int:
        """The same for a pair, together."""
        return self.model_max_length - around(True)

    # ---- the vocabulary

    def __len__(self) -> int:
        """Tokens of the vocabulary and added ones: a model needs at least so many embedding rows."""
        return len(self.get_vocab())

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary, without those added beyond it."""
        return len(self.encoder.backend.vocabulary)

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return {**self.encoder.backend.vocabulary, **self.encoder.added.ids}

    @property
    def vocab(self) -> dict[str, int]:
        """Another name for get_vocab()."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, special ones included."""
        return dict(sorted(self.encoder.added.tokens.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Added token -> id, by id."""
        return {token.content: number for number, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Another name for added_tokens_encoder."""
        return self.added_tokens_encoder

    add_tokens = adding.add_tokens
    add_special_tokens = adding.add_special_tokens
    sanitize_special_tokens = adding.sanitize_special_tokens

    # ---- special tokens

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Role -> token, as text, where there is one."""
        return {role: self.roles.text(role) for role, _ in self.roles.named()}

    @property
    def special_tokens_map_extended(self) -> dict[str, Any]:
        """The same with the tokens as they were given, with their flags."""
        return dict(self.roles.named())

    @property
    def all_special_tokens(self) -> list[str]:
        """Every token with a role, once."""
        return self.roles.all()

    @property
    def all_special_tokens_extended(self) -> list[Token]:
        """The same as they were given, with their flags."""
        return self.roles.all_with_flags()

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        ids: list[int] = self.convert_tokens_to_ids(self.all_special_tokens)
        return ids

    def __getattr__(self, name: str) -> Any:
        """`mask_token`, `mask_token_id` and the like; None where the tokenizer has no such token."""
        role, is_id = role_of(name)
        if role is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {excerpt(name)}")
        value = self.__dict__["roles"].text(role)
        return value if value is None or not is_id else self.convert_tokens_to_ids(value)

    def __setattr__(self, name: str, value: Any) -> None:
        """`tokenizer.pad_token = "[MASK]"`, by token or by id. Raises InputError for what is no token."""
        role, is_id = role_of(name)
        if role is None:
            object.__setattr__(self, name, value)
        else:
            self.roles.set(role, self.convert_ids_to_tokens(value) if is_id and value is not None else value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} tokens, do_lower_case={self.do_lower_case})"
