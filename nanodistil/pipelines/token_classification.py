"""token-classification, or ner: which of a text's words are names, and of what?

    text -> ids -> hidden states -> logits at every token -> softmax over the labels -> entities (entities.py)

Arguments, fields and numbers follow transformers' pipeline (4.57), but for three things:

- A text longer than the model's positions is refused. transformers drops what is too much without a word; here
  truncation=True does, and stride=... reads all of it, in windows.
- `word` is the text itself, text[start:end]. transformers glues the tokens together again, which loses capitals,
  accents and spaces ("u. s. a."); word="tokens" gives its form.
- A word ends where the tokenizer ends it. transformers takes a token for the inside of a word if it is not as long as
  its text, which is also so where normalization took something away: after "the" a word with a soft hyphen becomes a
  part of it. word="tokens" brings this back too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.family.distilbert import DistilBertForTokenClassification
from nanodistil.pipelines.batching import Prepared, answered, check_pace, pace_of, several
from nanodistil.pipelines.entities import STRATEGIES, Entity, Piece, aggregate, merged
from nanodistil.pipelines.overlap import overlapping
from nanodistil.pipelines.pairing import check_pair, longest_row
from nanodistil.pipelines.preset import settings_of
from nanodistil.pipelines.scores import finite, softmax
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.weights.errors import InputError, excerpt

Span = tuple[int, int]
Item = tuple[Any, Any]  # a text or its words, and the offsets of its tokens where somebody gave them
Found = dict[str, Any]  # {"entity" or "entity_group", "score", "index" of an entity, "word", "start", "end"}


class Settings(NamedTuple):
    strategy: str
    ignored: frozenset[str]
    stride: int | None
    delimiter: str | None  # between the words that are given; None: texts are
    truncation: bool
    upstream_words: bool


class Tokens(NamedTuple):
    """A text's n tokens, without special ones, and the windows they are read in."""

    sentence: str
    ids: list[int]
    offsets: list[Span]
    words: list[Any]  # equal for tokens of one word, and only then
    windows: list[Span]


class TokenClassificationPipeline:
    """Finds entities in texts. Made by nanodistil.pipeline("token-classification", ...)."""

    def __init__(self, model: DistilBertForTokenClassification, tokenizer: DistilBertTokenizer) -> None:
        """Raises CheckpointError where the tokenizer's vocabulary and the model's embedding rows do not fit."""
        check_pair(model, tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        self.before, self.after = tokenizer("")["input_ids"]  # [CLS] and [SEP]

    @property
    def limit(self) -> int:
        """The most tokens of a row, as model and tokenizer are now: both may be changed after the pipeline is made."""
        return longest_row(self.model, self.tokenizer)

    def __call__(
        self,
        inputs: str | Iterable[Any],
        *,
        aggregation_strategy: str | None = None,
        ignore_labels: Iterable[str] | None = None,
        stride: int | None = None,
        is_split_into_words: bool = False,
        delimiter: str | None = None,
        truncation: bool = False,
        word: str = "original",
        offset_mapping: list[Any] | None = None,
        grouped_entities: bool | None = None,
        ignore_subwords: bool | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> Any:
        """The entities of every text, in its order.

        inputs: a text; a list of texts, or what is as good as one (a tuple, an array, a column), for which there is a
        list of answers; or an iterator, which is streamed. With is_split_into_words, texts are lists of words (and for
        a single one there is a list of one). An answer is a list of {"entity", "score", "index", "word", "start",
        "end"}, one a token whose label counts, or with an aggregation strategy of {"entity_group", "score", "word",
        "start", "end"}. Scores are floats.

        aggregation_strategy: None or "none", "simple", "first", "average" or "max", see entities.py.
        ignore_labels: those that do not count, ["O"] by default. stride: read a text of any length, in windows that
        overlap by so many tokens. truncation: read as much of it as the model takes. is_split_into_words, delimiter:
        what to put between the words, " " by default; starts and ends are in the text so joined. word: "original" or
        "tokens", see above. offset_mapping: (start, end) of every token, special ones included, if the tokenizer's are
        not wanted; for a list, a list of such. grouped_entities, ignore_subwords: transformers' old names of "simple"
        and "first", with a warning. batch_size, num_workers: taken, and change nothing, see batching.py.
        Raises InputError for a text longer than the model's positions, and for unusable arguments.
        """
        check_pace(batch_size, num_workers)
        settings = self._settings(
            aggregation_strategy,
            ignore_labels,
            stride,
            is_split_into_words,
            delimiter,
            truncation,
            word,
            grouped_entities,
            ignore_subwords,
        )
        if not isinstance(inputs, str):
            inputs = several(inputs)
        if settings.delimiter is not None and isinstance(inputs, list) and any(isinstance(w, str) for w in inputs):
            inputs = [inputs]
        if isinstance(inputs, str | list):
            texts = [inputs] if isinstance(inputs, str) else inputs
            answers = list(self._find(with_offsets(texts, offset_mapping), settings))
            return answers[0] if isinstance(inputs, str) else answers
        if offset_mapping is not None:
            raise InputError("offset_mapping goes with a text or a list of texts, not with a stream")
        return self._find(((text, None) for text in inputs), settings)

    def each(self, inputs: Iterable[Any], first: int = 0, **options: Any) -> Iterator[list[Found]]:
        """The answers one by one, as they are ready; arguments as in a call.

        first: how many texts came before these, for the messages of errors. A text that cannot be answered raises its
        error after the answers to those before it.
        """
        settings = settings_of(self, options)
        items = with_offsets(inputs, None) if isinstance(inputs, list) else ((text, None) for text in inputs)
        return self._find(items, settings, first)

    def _settings(
        self,
        aggregation_strategy: str | None = None,
        ignore_labels: Iterable[str] | None = None,
        stride: int | None = None,
        is_split_into_words: bool = False,
        delimiter: str | None = None,
        truncation: bool = False,
        word: str = "original",
        grouped_entities: bool | None = None,
        ignore_subwords: bool | None = None,
    ) -> Settings:
        if grouped_entities is not None or ignore_subwords is not None:
            aggregation_strategy = ("first" if ignore_subwords else "simple") if grouped_entities else "none"
            message = f"grouped_entities and ignore_subwords are old: say {aggregation_strategy=}"
            warnings.warn(message, stacklevel=3)
        strategy = "none" if aggregation_strategy is None else aggregation_strategy
        if not isinstance(strategy, str) or strategy.lower() not in STRATEGIES:
            raise InputError(f"aggregation_strategy must be one of {', '.join(STRATEGIES)}, not {excerpt(strategy)}")
        ignored = ["O"] if ignore_labels is None else ignore_labels
        if isinstance(ignored, str) or not isinstance(ignored, Iterable):
            raise InputError(f'ignore_labels must be a list of labels such as ["O"], not {excerpt(ignored)}')
        if stride is not None:
            if isinstance(stride, bool) or not isinstance(stride, int | np.integer) or not 0 <= stride < self.limit - 2:
                raise InputError(f"stride must be a whole number from 0 to {self.limit - 3}, not {excerpt(stride)}")
            if aggregation_strategy is not None and strategy.lower() == "none":
                raise InputError('stride goes with an aggregation_strategy other than "none"')
            if truncation:
                raise InputError("stride reads a text to its end and truncation does not: choose one")
        if delimiter is not None and not isinstance(delimiter, str):
            raise InputError(f"delimiter must be a string, not {type(delimiter).__name__}")
        if word not in ("original", "tokens"):
            raise InputError(f'word must be "original" or "tokens", not {excerpt(word)}')
        between = (" " if delimiter is None else delimiter) if is_split_into_words else None
        labels = frozenset(map(str, ignored))
        return Settings(strategy.lower(), labels, stride, between, bool(truncation), word == "tokens")

    def _find(self, items: Iterable[Item], settings: Settings, first: int = 0) -> Iterator[list[Found]]:
        """Answers to the texts, in order; `first` is how many came before, for messages."""

        def prepare(item: Item, name: str) -> Prepared:
            tokens = self._tokens(*item, name, settings)
            ids = tokens.ids
            return Prepared([np.array([self.before, *ids[a:b], self.after]) for a, b in tokens.windows], tokens)

        def compute(ids: Ints, real: Mask) -> Iterator[Array]:
            probs = softmax(finite(self.model(ids, real, return_dict=True).logits))  # (B, T, C)
            for scores, here in zip(probs, real, strict=True):
                yield scores[here][1:-1]  # (n, C), special tokens left out

        def finish(prepared: Prepared, results: list[Array]) -> list[Found]:
            tokens: Tokens = prepared.rest
            entities: list[Entity] = []
            for window, scores in zip(tokens.windows, results, strict=True):
                pieces = self._pieces(tokens, window, scores, settings.upstream_words)
                labels, join = self.model.config.id2label, self.tokenizer.convert_tokens_to_string
                found = aggregate(pieces, settings.strategy, labels, join)
                entities += [entity for entity in found if entity.label not in settings.ignored]
            if len(results) > 1:
                entities = merged(entities)
            if not settings.upstream_words:
                entities = [e._replace(word=tokens.sentence[e.start : e.end]) for e in entities]
            return [as_dict(entity) for entity in entities]

        return answered(items, prepare, compute, finish, first, pace_of(self.model))

    def _tokens(self, text: Any, given: Any, name: str, settings: Settings) -> Tokens:
        """A text or a list of words, checked and encoded."""
        texts = [text] if settings.delimiter is None else text
        if settings.delimiter is None and not isinstance(text, str):
            hint = "; for a list of words pass is_split_into_words=True" if isinstance(text, list) else ""
            raise InputError(f"{name} is not a string but {type(text).__name__}{hint}")
        if settings.delimiter is not None and not isinstance(texts, str | list) and isinstance(texts, Iterable):
            texts = list(several(texts, "a list of words"))
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            raise InputError(f"{name} is not a list of words, which is_split_into_words=True asks for")
        try:
            encoded = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        ids = [number for row in encoded["input_ids"] for number in row]
        offsets = [span for row in encoded["offset_mapping"] for span in row]
        if given is not None:
            offsets = checked_offsets(given, len(ids) + 2, name)[1:-1]
        places: list[Span] = []
        words: list[Any] = []
        shift = 0
        for k, one in enumerate(texts):
            words += [(k, word) for word in encoded.word_ids(k)]
            places += [(start + shift, end + shift) for start, end in offsets[len(places) : len(words)]]
            shift += len(one) + len(settings.delimiter or "")
        return Tokens(
            (settings.delimiter or "").join(texts), ids, places, words, self._windows(len(ids), name, settings)
        )

    def _windows(self, n: int, name: str, settings: Settings) -> list[Span]:
        """The windows in which n tokens are read."""
        room, from_right = self.limit - 2, self.tokenizer.truncation_side == "left"
        if n <= room:
            return [(0, n)]
        if settings.stride is not None:
            return overlapping(n, room, int(settings.stride), from_right)
        if settings.truncation:
            return [(n - room, n) if from_right else (0, room)]
        raise InputError(
            f"{name} has {n + 2} tokens, more than the model's {self.limit}: pass stride=128 (--stride) "
            "and an aggregation_strategy to read it in windows, or truncation=True (--truncate) to cut it"
        )

    def _pieces(self, tokens: Tokens, window: Span, scores: Array, upstream_words: bool) -> list[Piece]:
        """What the aggregation wants to know of each token in a window; scores: (n, C)."""
        pieces: list[Piece] = []
        for i, piece_scores in zip(range(*window), scores, strict=True):
            start, end = tokens.offsets[i]
            token, own_text = self.tokenizer.convert_ids_to_tokens(tokens.ids[i]), tokens.sentence[start:end]
            unknown = tokens.ids[i] == self.tokenizer.unk_token_id
            if upstream_words:
                continues = not unknown and len(token) != len(own_text)
            else:
                continues = i > window[0] and tokens.words[i] == tokens.words[i - 1]
            at = i - window[0] + 1
            pieces.append(Piece(own_text if unknown else token, piece_scores, start, end, at, continues))
        return pieces


def with_offsets(texts: Iterable[Any], offset_mapping: Any) -> list[Item]:
    """Each text with its offsets, if there are any. Raises InputError where their numbers differ."""
    texts = list(texts)
    if offset_mapping is None:
        return [(text, None) for text in texts]
    if isinstance(offset_mapping, list) and offset_mapping and isinstance(offset_mapping[0], tuple):
        offset_mapping = [offset_mapping]
    if not isinstance(offset_mapping, list) or len(offset_mapping) != len(texts):
        raise InputError(f"offset_mapping must be a list of (start, end) for each of the {len(texts)} texts")
    return list(zip(texts, offset_mapping, strict=True))


def checked_offsets(given: Any, n: int, name: str) -> list[Span]:
    """Offsets of n tokens, special ones included, as somebody gave them. Raises InputError."""
    array = np.asarray(given) if isinstance(given, list | np.ndarray) else np.zeros(0)
    if array.shape != (n, 2) or array.dtype.kind not in "iu" or (array < 0).any():
        raise InputError(
            f"{name} has {n} tokens, special ones included: offset_mapping must have (start, end) for each"
        )
    return [(start, end) for start, end in array.tolist()]


def as_dict(entity: Entity) -> Found:
    """The fields of transformers' pipeline, in its order."""
    place = {"word": entity.word, "start": entity.start, "end": entity.end}
    if entity.at is None:
        return {"entity_group": entity.label, "score": float(entity.score), **place}
    return {"entity": entity.label, "score": float(entity.score), "index": entity.at, **place}
