"""tokenizer.json: a whole fast tokenizer in one file, of which we accept the DistilBERT kind and nothing else.

The format can describe thousands of tokenizers. Each part is either what this package reproduces or refused by name:
a tokenizer that silently did something else would be worse than none.

  normalizer      BertNormalizer                  pre_tokenizer   BertPreTokenizer
  model           WordPiece                       post_processor  [CLS] A [SEP] B [SEP], as template or BertProcessing
  decoder         WordPiece                       added_tokens    the ids are theirs, or the next free ones

`truncation` and `padding` lend only their direction: every call sets the rest anew, as in transformers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.files import check_vocabulary
from nanodistil.tokenization.wordpiece import Normalizer
from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.small_files import FOR_TOKENIZER, read_json

T = TypeVar("T")


@dataclass
class Backend:
    """What defines a tokenizer, from either kind of file."""

    source: str  # the file, for messages
    vocabulary: dict[str, int]
    unknown: str
    cls: tuple[str, int]
    sep: tuple[str, int]
    prefix: str = "##"
    longest_word: int = 100
    clean_text: bool = True
    normalizer: Normalizer | None = None  # as the file has it; the class overrides it for texts, not for added tokens
    decoder_prefix: str = "##"
    decoder_cleans: bool = True
    added: tuple[tuple[int, AddedToken], ...] = ()
    padding_side: str = "right"
    truncation_side: str = "right"
    padding_token: str | None = None  # of the section on padding


class _Part:
    """An object of the file, with the path to it for error messages."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise CheckpointError(f"{where}: is {excerpt(value)}, not an object; this is not a DistilBERT tokenizer")
        self.value, self.where = value, where

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        value = self.value.get(key, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise CheckpointError(f"{self.where}.{key}: is {excerpt(value)}, not {kind.__name__}; get it again")
        return value

    def part(self, key: str) -> "_Part":
        return _Part(self.value.get(key), f"{self.where}.{key}")

    def expect(self, kind: str, otherwise: str | None = None) -> None:
        found = self.value.get("type", otherwise)
        if found != kind:
            raise CheckpointError(f"{self.where}.type: is {excerpt(found)}, where DistilBERT has {kind!r}")


def read_tokenizer_json(path: Path) -> Backend:
    """The tokenizer a tokenizer.json describes. Raises CheckpointError naming the field that does not fit."""
    file = _Part(read_json(path, FOR_TOKENIZER), str(path))

    model = file.part("model")
    model.expect("WordPiece", otherwise="WordPiece" if "max_input_chars_per_word" in model.value else None)
    vocabulary = _vocabulary(model)
    unknown = model.get("unk_token", str)
    if unknown not in vocabulary:
        raise CheckpointError(f"{model.where}.vocab: lacks the unknown token {excerpt(unknown)}; get the file again")

    normalizer = file.part("normalizer")
    normalizer.expect("BertNormalizer")
    clean, cjk, lower = (normalizer.get(key, bool) for key in ("clean_text", "handle_chinese_chars", "lowercase"))
    strip = None if normalizer.value.get("strip_accents") is None else normalizer.get("strip_accents", bool)
    file.part("pre_tokenizer").expect("BertPreTokenizer")
    decoder = file.part("decoder")
    decoder.expect("WordPiece")
    cls, sep = _frame(file.part("post_processor"))

    added = []
    for number, item in enumerate(file.get("added_tokens", list, [])):
        entry = _Part(item, f"{file.where}.added_tokens[{number}]")
        for flag in ("single_word", "lstrip", "rstrip", "normalized", "special"):
            entry.get(flag, bool)
        if entry.get("id", int) < 0:
            raise CheckpointError(f"{entry.where}.id: is {excerpt(item['id'])}; ids begin at 0")
        added.append((entry.get("id", int), AddedToken.from_json(item, entry.where)))
    for token, number in (cls, sep):
        if vocabulary.get(token, {t.content: i for i, t in added}.get(token)) != number:
            raise CheckpointError(
                f"{file.where}.post_processor: {excerpt(token)} has the id {number} only here; get it again"
            )

    return Backend(
        source=str(path),
        vocabulary=vocabulary,
        unknown=unknown,
        cls=cls,
        sep=sep,
        prefix=model.get("continuing_subword_prefix", str),
        longest_word=model.get("max_input_chars_per_word", int),
        clean_text=clean,
        normalizer=Normalizer(lower, strip, cjk, clean),
        decoder_prefix=decoder.get("prefix", str),
        decoder_cleans=decoder.get("cleanup", bool),
        added=tuple(added),
        padding_side=_side(file, "padding"),
        truncation_side=_side(file, "truncation"),
        padding_token=None if file.value.get("padding") is None else file.part("padding").get("pad_token", str),
    )


def _vocabulary(model: _Part) -> dict[str, int]:
    vocabulary = model.get("vocab", dict)
    where = f"{model.where}.vocab"
    check_vocabulary(vocabulary, where)
    seen = bytearray(len(vocabulary))
    for token, number in vocabulary.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(seen):
            raise CheckpointError(f"{where}: {excerpt(token)} has the id {excerpt(number)}, not of 0..{len(seen) - 1}")
        if seen[number]:
            raise CheckpointError(f"{where}: the id {number} is given twice, once to {excerpt(token)}")
        seen[number] = 1
    return vocabulary


def _frame(part: _Part) -> tuple[tuple[str, int], tuple[str, int]]:
    """The tokens put before a text and after it, each with its id."""
    if part.value.get("type") == "BertProcessing":
        pairs = [part.get(key, list) for key in ("cls", "sep")]
        if not all(len(p) == 2 and isinstance(p[0], str) and type(p[1]) is int for p in pairs):
            raise CheckpointError(f"{part.where}: cls and sep must each be a token and its id")
        return (pairs[0][0], pairs[0][1]), (pairs[1][0], pairs[1][1])

    part.expect("TemplateProcessing")

    def steps(key: str) -> list[tuple[str, str, int]]:
        out = []
        for item in part.get(key, list):
            step = _Part(item, f"{part.where}.{key}")
            for kind in ("SpecialToken", "Sequence"):
                if kind in step.value:
                    inner = step.part(kind)
                    out.append((kind, inner.get("id", str), inner.get("type_id", int)))
        return out

    single, pair = steps("single"), steps("pair")
    cls, sep = (single[0][1], single[-1][1]) if single else ("", "")
    a = [("SpecialToken", cls, 0), ("Sequence", "A", 0), ("SpecialToken", sep, 0)]
    if single != a or pair != [*a, ("Sequence", "B", 1), ("SpecialToken", sep, 1)]:
        raise CheckpointError(f"{part.where}: is not DistilBERT's template [CLS] A [SEP] and [CLS] A [SEP] B [SEP]")
    ids = []
    for token in (cls, sep):
        numbers = part.part("special_tokens").part(token).get("ids", list)
        if len(numbers) != 1 or type(numbers[0]) is not int:
            raise CheckpointError(f"{part.where}.special_tokens: {excerpt(token)} must stand for one id")
        ids.append(numbers[0])
    return (cls, ids[0]), (sep, ids[1])


def _side(file: _Part, key: str) -> str:
    if file.value.get(key) is None:
        return "right"
    part = file.part(key)
    side = part.get("direction", str, "Right").lower()
    if side not in ("left", "right"):
        raise CheckpointError(f"{part.where}.direction: is {excerpt(side)}, not 'Left' or 'Right'")
    if key == "padding" and part.get("pad_type_id", int, 0) != 0:
        raise CheckpointError(f"{part.where}.pad_type_id: must be 0")
    return side
