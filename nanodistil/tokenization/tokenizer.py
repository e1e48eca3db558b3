"""DistilBertTokenizer: texts in, ids out, and back; the calling surface of transformers on top of wordpiece.py.

A text goes through five hands: the added tokens ([MASK], ...) are cut out, what lies between becomes pieces, the pair
is truncated, [CLS] and [SEP] are put around, and the batch is padded. There is one class where transformers has two:
the results are those of its fast one (4.57.6 with tokenizers 0.22.2), and DistilBertTokenizerFast is another name.

What is not here yet raises instead of being ignored: stride and overflowing windows, texts given as words, and
`text_target`. Warnings that transformers gives once per tokenizer go to the logger "nanodistil.tokenization".
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanodistil.tokenization import decoding
from nanodistil.tokenization.added_tokens import AddedToken, AddedTokens
from nanodistil.tokenization.arguments import PADDING, TRUNCATION, id_list, one_of, text_pairs, whole_number
from nanodistil.tokenization.definition import encode
from nanodistil.tokenization.encoding import BatchEncoding, Encoding, Encodings, Frame, Padding, same_width, truncate
from nanodistil.tokenization.files import read_vocab_txt
from nanodistil.tokenization.settings import SPECIAL, read_settings
from nanodistil.tokenization.tokenizer_json import Backend, read_tokenizer_json
from nanodistil.tokenization.wordpiece import Normalizer, WordPiece
from nanodistil.weights.errors import CheckpointError, InputError, ModelNotFoundError

if TYPE_CHECKING:
    from nanodistil.tokenization.rows import Rows
    from nanodistil.tokenization.scanner import Scanner

logger = logging.getLogger("nanodistil.tokenization")

NO_LIMIT = int(1e30)  # model_max_length where no file gives one, as in transformers
LARGE = 10**20  # at or above it there is no limit
ENOUGH = 50_000  # characters after which the compiled scan is loaded: they take the definition 20 ms
ENOUGH_FOR_NUMBA = 1_000_000  # the same where Numba must be started first, which takes half a second
CASED_SHARE = 0.05  # of the tokens out of an uncased model's reach; 0 in uncased vocabularies, over 0.3 in cased ones


class DistilBertTokenizer:
    """A WordPiece vocabulary with DistilBERT's conventions.

    vocab_file or tokenizer_file: vocab.txt, or tokenizer.json (or what read_tokenizer_json made of it), which wins
    where both are given. do_lower_case: for
    an uncased vocabulary. strip_accents: None means as do_lower_case. clean_up_tokenization_spaces: whether `decode`
    tidies up; None means True with a vocab.txt and False with a tokenizer.json, transformers' choice.

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

    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012  # transformers' name, set per instance

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        do_lower_case: bool = True,
        *,
        tokenizer_file: str | Path | Backend | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken | None = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken | None = "[MASK]",
        bos_token: str | AddedToken | None = None,
        eos_token: str | AddedToken | None = None,
        additional_special_tokens: Iterable[str | AddedToken] = (),
        added_tokens_decoder: dict[int, AddedToken] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        model_max_length: float | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        model_input_names: list[str] | None = None,
    ) -> None:
        given = (bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token)
        if "" in map(str, given):
            raise InputError("a special token is empty; name it, or pass None where the tokenizer has none")
        self._special = {name: str(token) for name, token in zip(SPECIAL, given, strict=True) if token is not None}
        self.additional_special_tokens = [str(token) for token in additional_special_tokens]
        self.do_lower_case = do_lower_case
        if model_max_length is not None and not 0 <= model_max_length < float("inf"):
            raise InputError(f"model_max_length={model_max_length!r}: must be a number of tokens, or left out")
        self.model_max_length = NO_LIMIT if model_max_length is None else int(model_max_length)

        if isinstance(tokenizer_file, Backend):
            backend = tokenizer_file
        elif tokenizer_file is not None:
            backend = read_tokenizer_json(Path(tokenizer_file))
        elif vocab_file is not None:
            backend = self._from_vocabulary(read_vocab_txt(Path(vocab_file)), str(vocab_file))
        else:
            raise InputError("a tokenizer needs a vocab_file or a tokenizer_file; or use from_pretrained")
        self.clean_up_tokenization_spaces = (
            tokenizer_file is None if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        self.padding_side = one_of("padding_side", padding_side or backend.padding_side, ("left", "right"))
        self.truncation_side = one_of("truncation_side", truncation_side or backend.truncation_side, ("left", "right"))
        if model_input_names is not None:
            self.model_input_names = list(model_input_names)

        self._backend = backend
        normalizer = Normalizer(do_lower_case, strip_accents, tokenize_chinese_chars, backend.clean_text)
        self._wordpiece = WordPiece(
            backend.vocabulary, normalizer, backend.unknown, backend.prefix, backend.longest_word
        )
        self._added = AddedTokens(backend.vocabulary, (backend.normalizer or normalizer).text)
        self._add(backend.added)
        self._add(
            (number, replace(token, special=token.special or token.content in self.all_special_tokens))
            for number, token in sorted((added_tokens_decoder or {}).items())
        )
        specials = [token for token in (*given, *additional_special_tokens) if token is not None]
        self._added.add(
            AddedToken(token, special=True) if isinstance(token, str) else replace(token, special=True)
            for token in specials
            if not isinstance(token, str) or token not in self._added.ids
        )
        self._tokens = {number: token for token, number in backend.vocabulary.items()}
        self._tokens.update((number, token.content) for number, token in self._added.tokens.items())
        self._warned: set[str] = set()
        self._scanner: Scanner | None = None
        self._seen: int | None = 0  # characters of text so far; None: the scan was loaded, or cannot be
        if do_lower_case:
            self._warn_if_cased()

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

        folder = resolve(
            pretrained_model_name_or_path,
            need="tokenizer",
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        if (folder / "tokenizer.json").is_file():
            backend = read_tokenizer_json(folder / "tokenizer.json")
            return cls(tokenizer_file=backend, **read_settings(folder, overrides, backend.added))
        if (folder / "vocab.txt").is_file():
            return cls(folder / "vocab.txt", **read_settings(folder, overrides))
        raise ModelNotFoundError(f"{folder}: holds neither tokenizer.json nor vocab.txt; get the files again")

    def _from_vocabulary(self, vocabulary: dict[str, int], source: str) -> Backend:
        unknown = self._special["unk_token"]
        if unknown not in vocabulary:
            raise CheckpointError(f"{source}: lacks the unknown token {unknown!r}; this is not a DistilBERT vocabulary")
        missing = [token for token in self._special.values() if token not in vocabulary]
        ids = {**vocabulary, **{token: len(vocabulary) + n for n, token in enumerate(missing)}}
        cls, sep = (self._special[name] for name in ("cls_token", "sep_token"))
        return Backend(source, vocabulary, unknown, (cls, ids[cls]), (sep, ids[sep]))

    def _add(self, tokens: Iterable[tuple[int, AddedToken]]) -> None:
        tokens = list(tokens)
        self._added.add(token for _, token in tokens)
        for number, token in tokens:
            if self._added.ids.get(token.content) != number:
                raise CheckpointError(
                    f"{self._backend.source}: the added token {token.content[:40]!r} has the id {number} in the files, "
                    f"but would get {self._added.ids.get(token.content)}; the files do not fit each other"
                )

    def _warn_if_cased(self) -> None:
        words = [token for token in self._backend.vocabulary if not token.startswith("[")]
        lost = sum(token != token.lower() for token in words)
        if lost > CASED_SHARE * len(words):
            warnings.warn(
                f"{self._backend.source}: {lost} of {len(words)} tokens have capitals, which do_lower_case=True never "
                "reaches; for a cased model pass do_lower_case=False",
                stacklevel=3,
            )

    # ---- texts to ids

    def __call__(
        self,
        text: str | list[str] | list[tuple[str, str]],
        text_pair: str | list[str] | None = None,
        *,
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
    ) -> BatchEncoding:
        """Encode a text, a pair, a list of texts, or a list of pairs.

        padding: False, True or "longest", "max_length". truncation: None, True or "longest_first", "only_first",
        "only_second". max_length: in tokens, specials included; the model's own where not given. return_tensors:
        None for lists, "np" for int64 arrays, (B, T).

        Returns lists of ids, T for one text and B x T for several, under "input_ids", and what else was asked for.
        Raises InputError for texts that are no strings or hold lone surrogates, and for arguments out of range.
        """
        for name, value in (
            ("stride", stride),
            ("is_split_into_words", is_split_into_words),
            ("return_overflowing_tokens", return_overflowing_tokens),
        ):
            if value:
                raise InputError(f"{name}={value!r} is not supported yet; leave it out")
        if return_tensors not in (None, "np"):
            raise InputError(f"return_tensors={return_tensors!r}: only 'np' is supported; or leave it out for lists")
        pad_to = None if pad_to_multiple_of is None else whole_number("pad_to_multiple_of", pad_to_multiple_of, 1)
        side = self.padding_side if padding_side is None else one_of("padding_side", padding_side, ("left", "right"))
        pad, cut, limit = self._strategies(padding, truncation, max_length, pad_to, verbose)

        single = isinstance(text, str)
        batch = self._tokens_of(text_pairs(text, text_pair), add_special_tokens, cut, limit)
        longest = max(batch.lengths, default=0)
        if max_length is None and not cut and longest > self.model_max_length > 0:
            self._warn_once(
                f"a text of {longest} tokens is longer than the {self.model_max_length} the model takes; "
                "pass truncation=True, or the model will refuse it",
                verbose,
            )
        if pad:
            length = limit if pad == "max_length" else longest
            if pad_to:
                length = -(-length // pad_to) * pad_to
            number, token = self.convert_tokens_to_ids(self._special["pad_token"]), self._special["pad_token"]
            batch.pad(Padding(length, number, token, side))

        names = self.model_input_names
        wanted = {
            "input_ids": True,
            "token_type_ids": "token_type_ids" in names if return_token_type_ids is None else return_token_type_ids,
            "attention_mask": "attention_mask" in names if return_attention_mask is None else return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
        }
        make = batch.array if return_tensors else batch.only if single else batch.lists
        if return_tensors:
            same_width(batch.lists("length"))
        values = {key: partial(make, key) for key, on in wanted.items() if on}
        return BatchEncoding(values, batch.encoding, len(batch.lengths))

    def encode(self, text: str, text_pair: str | None = None, **arguments: Any) -> list[int]:
        """The ids of one text or pair; arguments as for a call."""
        if not isinstance(text, str):
            raise InputError(f"encode takes one text, not {type(text).__name__}; call the tokenizer for several")
        ids: list[int] = self(text, text_pair, **arguments)["input_ids"]
        return ids

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **arguments: Any
    ) -> list[str]:
        """The pieces of one text or pair, as text."""
        if not isinstance(text, str):
            raise InputError(f"tokenize takes one text, not {type(text).__name__}")
        return self(text, pair, add_special_tokens=add_special_tokens, **arguments).tokens()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """2 for a text, 3 for a pair."""
        return 3 if pair else 2

    def _tokens_of(
        self, pairs: list[tuple[str, str | None]], add_special_tokens: bool, cut: str | None, limit: int
    ) -> Encodings | Rows:
        """All texts, truncated and framed: by the compiled scan where there is one, else by the definition."""
        scanner = self._scanner_for(pairs)
        firsts = [a for a, _ in pairs]
        if scanner and cut != "only_second" and all(b is None for _, b in pairs):
            cls, sep = (self._backend.cls, self._backend.sep) if add_special_tokens else (None, None)
            room = limit - self.num_special_tokens_to_add() * add_special_tokens if cut else -1
            return scanner.rows(firsts, Frame(cls, sep, room, self.truncation_side == "left"))
        rows = scanner.rows(firsts + [b or "" for _, b in pairs]) if scanner else None
        encodings = []
        for i, (a, b) in enumerate(pairs):
            second: Encoding | None
            if rows:
                first, second = rows.encoding(i), None if b is None else rows.encoding(len(pairs) + i, 1)
            else:
                first = encode(a, self._added, self._wordpiece)
                second = None if b is None else encode(b, self._added, self._wordpiece, 1)
            if cut:
                room = limit - self.num_special_tokens_to_add(second is not None) * add_special_tokens
                if room >= 0:  # below, the reference wraps around and leaves the text as it is
                    first, second = truncate(first, second, room, cut, self.truncation_side)
            encodings.append(self._frame(first, second, add_special_tokens))
        return Encodings(encodings)

    def _scanner_for(self, pairs: list[tuple[str, str | None]]) -> Scanner | None:
        """The compiled scan, once enough text has come by to be worth loading it; None: the definition."""
        if self._seen is not None:
            self._seen += sum([len(a) + len(b or "") for a, b in pairs])
            if self._seen >= (ENOUGH if "numba" in sys.modules else ENOUGH_FOR_NUMBA):
                self._scanner, self._seen = self._load_scanner(), None
        return self._scanner

    def _load_scanner(self) -> Scanner | None:
        from nanodistil.backend import wordpiece_scan

        scan = wordpiece_scan()
        if scan is None:
            return None
        from nanodistil.tokenization.scanner import Scanner

        try:
            return Scanner(self._wordpiece, self._added, scan)
        except ValueError as error:  # what it does not do is slow, and the same
            logger.info("tokens are found without the compiled scan: %s", error)
            return None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scanner": None, "_seen": 0}

    def _frame(self, a: Encoding, b: Encoding | None, add_special_tokens: bool) -> Encoding:
        """[CLS] A [SEP] or [CLS] A [SEP] B [SEP]; B and the last [SEP] have type 1."""
        if not add_special_tokens:
            return a if b is None else a + b
        (cls, cls_id), (sep, sep_id) = ((token, number) for token, number in (self._backend.cls, self._backend.sep))
        framed = Encoding(
            [cls_id, *a.ids, sep_id],
            [0, *a.type_ids, 0],
            [cls, *a.tokens, sep],
            [(0, 0), *a.offsets, (0, 0)],
            [None, *a.words, None],
            [None, *a.sequence, None],
            [1, *a.special_tokens_mask, 1],
            [1, *a.attention_mask, 1],
        )  # a line each and not two additions: a third of the time of a short text
        return framed if b is None else framed + b + Encoding.inserted(sep_id, sep, type_id=1)

    def _strategies(
        self, padding: Any, truncation: Any, max_length: int | None, pad_to: int | None, verbose: bool
    ) -> tuple[str | None, str | None, int]:
        """What to pad to, how to truncate, and the length for both (0 where neither needs one)."""
        if max_length is not None:
            max_length = whole_number("max_length", max_length, 0)
            if padding is False and truncation is None:
                self._warn_once("max_length without truncation: truncating; pass truncation=True to say so", verbose)
                truncation = True
            elif padding is True and not truncation:
                self._warn_once("max_length is ignored by padding=True; padding='max_length' pads to it", verbose)
        pad = PADDING[one_of("padding", padding, PADDING)]
        cut = TRUNCATION[one_of("truncation", truncation, TRUNCATION)]
        if max_length is None and self.model_max_length > LARGE:
            if pad == "max_length":
                self._warn_once("padding='max_length', but neither call nor model give a length: not padding", verbose)
                pad = None
            if cut:
                self._warn_once("truncation, but neither call nor model give a length: not truncating", verbose)
                cut = None
        elif max_length is None and (cut or pad == "max_length"):
            max_length = self.model_max_length
        if pad and "pad_token" not in self._special:
            raise InputError("padding needs a pad_token and this tokenizer has none; load it with pad_token='[PAD]'")
        if pad and cut and pad_to and max_length is not None and max_length % pad_to:
            raise InputError(f"max_length {max_length} is not a multiple of pad_to_multiple_of {pad_to}; make it one")
        return pad, cut, max_length or 0

    def _warn_once(self, message: str, verbose: bool = True) -> None:
        kind = re.sub(r"\d+", "N", message)  # whatever the numbers are
        if verbose and kind not in self._warned:
            self._warned.add(kind)
            logger.warning(message)

    # ---- ids to texts

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """The text of one id or a sequence of ids; ids the tokenizer does not know are left out.

        Raises InputError for what is no id: negative, or no integer.
        """
        found = (self._tokens.get(number) for number in id_list(token_ids))
        tokens = [t for t in found if t is not None and not (skip_special_tokens and t in self._added.special)]
        text = self.convert_tokens_to_string(tokens)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return decoding.clean_up(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """`decode` for each of several sequences of ids."""
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in sequences]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return decoding.join(tokens, self._backend.decoder_prefix, self._backend.decoder_cleans)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or a list of ids for a list; the unknown token's id for what is not in the vocabulary."""
        if isinstance(tokens, str):
            number = self._added.ids.get(tokens, self._backend.vocabulary.get(tokens))
            return self._added.ids.get(self._special["unk_token"]) if number is None else number
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, None where there is none, or a list of tokens for a sequence of ids."""
        if hasattr(ids, "__index__") and not hasattr(ids, "__len__"):  # an int, or NumPy's
            return self._tokens.get(id_list(ids)[0])
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._tokens.get(number) for number in id_list(ids) if number not in skipped]

    # ---- the vocabulary

    def __len__(self) -> int:
        """Tokens of the vocabulary and added ones: a model needs at least so many embedding rows."""
        return len(self.get_vocab())

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary, without those added beyond it."""
        return len(self._backend.vocabulary)

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return {**self._backend.vocabulary, **self._added.ids}

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, special ones included."""
        return dict(sorted(self._added.tokens.items()))

    @property
    def all_special_tokens(self) -> list[str]:
        return list(dict.fromkeys([*self._special.values(), *self.additional_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        return [self._added.ids[token] for token in self.all_special_tokens]

    def __getattr__(self, name: str) -> Any:
        """`mask_token`, `mask_token_id` and the like; None where the tokenizer has no such token."""
        token_name = name.removesuffix("_id")
        if token_name not in SPECIAL:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        token = self.__dict__["_special"].get(token_name)
        return token if token is None or name == token_name else self._added.ids[token]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} tokens, do_lower_case={self.do_lower_case})"
