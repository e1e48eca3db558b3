"""token-classification, or ner: which of a text's words are names, and of what?

    text -> ids -> hidden states -> logits at every token -> softmax over the labels -> entities (entities.py)

Arguments, fields and numbers follow transformers' pipeline (4.57), but for three things:

- A text longer than the model's positions is refused. transformers drops what is too much without a word; here
  truncation=True does, and stride=... reads all of it, in windows.
- `word` is the text itself, text[start:end]. transformers glues the tokens together again, which loses capitals,
  accents and spaces ("u. s. a."); word="tokens" gives its form.
- A word ends where the tokenizer ends it. transformers takes a token for the inside of a word if it is not as long as
  its text, which is also so if normalization took something away: after "the" a word with a soft hyphen becomes a
  part of it. word="tokens" brings this back too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np

from nanodistil.backend import Array
from nanodistil.heads.token_classification import ForTokenClassification
from nanodistil.pipelines.base import Prepared, Row
from nanodistil.pipelines.entities import STRATEGIES, Entity, Piece, aggregate, merged
from nanodistil.pipelines.inputs import check_pace, many
from nanodistil.pipelines.located import Span, Tokens, WithOffsets, located, with_offsets
from nanodistil.pipelines.overlap import overlapping
from nanodistil.pipelines.scores import finite, softmax
from nanodistil.pipelines.windowed import WindowedPipeline
from nanodistil.signatures import spelled_out
from nanodistil.weights.errors import InputError, TooLongError, excerpt

DEFAULTS: dict[str, Any] = {
    "is_split_into_words": False,
    "truncation": False,
    "word": "original",
}  # of the options, if not None

Found = dict[str, Any]  # {"entity" or "entity_group", "score", "index" of an entity, "word", "start", "end"}


class Options(TypedDict, total=False):
    """Arguments of a call."""

    aggregation_strategy: str | None
    ignore_labels: Iterable[str] | None
    stride: int | None
    is_split_into_words: bool
    delimiter: str | None
    truncation: bool
    word: str
    grouped_entities: bool | None
    ignore_subwords: bool | None


class Settings(NamedTuple):
    """A call's arguments, checked."""

    strategy: str
    ignored: frozenset[str]
    stride: int | None
    delimiter: str | None  # between the words that are given; None: texts are
    truncation: bool
    upstream_words: bool


class TokenClassificationPipeline(WindowedPipeline[ForTokenClassification, Settings]):
    """Finds entities in texts. Made by nanodistil.pipeline("token-classification", ...)."""

    one_input = (str, WithOffsets)

    @spelled_out(Options, **DEFAULTS)
    def __call__(
        self,
        inputs: str | Iterable[Any],
        *,
        offset_mapping: list[Any] | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        **options: Unpack[Options],
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
        settings = self.settings(**options)
        if not isinstance(inputs, str):
            inputs = many(inputs)
        if settings.delimiter is not None and isinstance(inputs, list) and any(isinstance(w, str) for w in inputs):
            inputs = [inputs]
        if offset_mapping is None:
            return self.answer(inputs, settings)
        if not isinstance(inputs, str | list):
            raise InputError("offset_mapping goes with a text or a list of texts, not with a stream")
        if isinstance(inputs, str):
            return self.answer(with_offsets([inputs], offset_mapping)[0], settings)
        return self.answer(with_offsets(inputs, offset_mapping), settings)

    @spelled_out(Options, **DEFAULTS)
    def settings(self, **options: Unpack[Options]) -> Settings:
        aggregation_strategy, stride = options.get("aggregation_strategy"), options.get("stride")
        grouped, first = options.get("grouped_entities"), options.get("ignore_subwords")
        if grouped is not None or first is not None:
            aggregation_strategy = ("first" if first else "simple") if grouped else "none"
            message = f"grouped_entities and ignore_subwords are old: say {aggregation_strategy=}"
            warnings.warn(message, stacklevel=5)
        strategy = "none" if aggregation_strategy is None else aggregation_strategy
        if not isinstance(strategy, str) or strategy.lower() not in STRATEGIES:
            raise InputError(f"aggregation_strategy must be one of {', '.join(STRATEGIES)}, not {excerpt(strategy)}")
        ignored = options.get("ignore_labels")
        ignored = ["O"] if ignored is None else ignored
        if isinstance(ignored, str) or not isinstance(ignored, Iterable):
            raise InputError(f'ignore_labels must be a list of labels such as ["O"], not {excerpt(ignored)}')
        if stride is not None:
            room = self.limit - self.template.around()
            if isinstance(stride, bool) or not isinstance(stride, int | np.integer) or not 0 <= stride < room:
                raise InputError(f"stride must be a whole number from 0 to {room - 1}, not {excerpt(stride)}")
            if aggregation_strategy is not None and strategy.lower() == "none":
                raise InputError('stride goes with an aggregation_strategy other than "none"')
            if options.get("truncation"):
                raise InputError("stride reads a text to its end and truncation does not: choose one")
        delimiter, word = options.get("delimiter"), options.get("word", DEFAULTS["word"])
        if delimiter is not None and not isinstance(delimiter, str):
            raise InputError(f"delimiter must be a string, not {type(delimiter).__name__}")
        if word not in ("original", "tokens"):
            raise InputError(f'word must be "original" or "tokens", not {excerpt(word)}')
        between = (" " if delimiter is None else delimiter) if options.get("is_split_into_words") else None
        labels, cut = frozenset(map(str, ignored)), bool(options.get("truncation"))
        return Settings(strategy.lower(), labels, stride, between, cut, word == "tokens")

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        tokens = located(self.tokenizer, one, settings.delimiter, name)
        windows = self._windows(len(tokens.ids), name, settings)
        rows = [Row(np.array(self.template.ids(tokens.ids[a:b]))) for a, b in windows]
        return Prepared(rows, (tokens, windows))

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Iterator[Array]:
        probs = softmax(finite(self.model(**inputs, return_dict=True).logits))  # (B, T, C)
        for scores, here in zip(probs, inputs["attention_mask"], strict=True):
            last = int(here.sum()) - (self.template.around() - self.template.leading)
            yield scores[here][self.template.leading : last]  # (n, C), special tokens left out

    def finish(self, prepared: Prepared, results: list[Array], settings: Settings) -> list[Found]:
        tokens, windows = prepared.rest
        labels, join = self.model.config.id2label, self.tokenizer.convert_tokens_to_string
        entities: list[Entity] = []
        for window, scores in zip(windows, results, strict=True):
            pieces = self._pieces(tokens, window, scores, settings.upstream_words)
            found = aggregate(pieces, settings.strategy, labels, join)
            entities += [entity for entity in found if entity.label not in settings.ignored]
        if len(results) > 1:
            entities = merged(entities)
        if not settings.upstream_words:
            entities = [e._replace(word=tokens.sentence[e.start : e.end]) for e in entities]
        return [as_dict(entity) for entity in entities]

    def _windows(self, n: int, name: str, settings: Settings) -> list[Span]:
        """The windows in which n tokens are read."""
        around = self.template.around()
        room = self.limit - around
        if n <= room:
            return [(0, n)] if n else []  # without a token there is nothing to find
        if settings.stride is not None:
            return overlapping(n, room, int(settings.stride), self.from_right)
        if settings.truncation:
            return [(n - room, n) if self.from_right else (0, room)]
        raise TooLongError(
            f"{name} has {n + around} tokens, more than the model's {self.limit}: pass stride=128 (--stride) "
            "and an aggregation_strategy to read it in windows, or truncation=True (--truncate) to cut it"
        )

    def _pieces(self, tokens: Tokens, window: Span, scores: Array, upstream_words: bool) -> list[Piece]:
        """What the aggregation wants to know of each token in a window; scores: (n, C)."""
        pieces: list[Piece] = []
        for i, piece_scores in zip(range(*window), scores, strict=True):
            start, end = tokens.offsets[i]
            token, own_text = self.tokenizer.convert_ids_to_tokens(tokens.ids[i]), tokens.sentence[start:end]
            unknown = tokens.ids[i] == self.tokenizer.unk_token_id
            if upstream_words and getattr(self.tokenizer.encoder.pieces, "prefix", None):
                continues = not unknown and len(token) != len(own_text)
            elif upstream_words:  # of words that no prefix continues it only knows spaces
                continues = not unknown and start > 0 and " " not in tokens.sentence[start - 1 : start + 1]
            else:
                continues = i > window[0] and tokens.words[i] == tokens.words[i - 1]
            at = i - window[0] + self.template.leading
            pieces.append(Piece(own_text if unknown else token, piece_scores, start, end, at, continues))
        return pieces


def as_dict(entity: Entity) -> Found:
    """The fields of transformers' pipeline, in its order."""
    found = {"word": entity.word, "start": entity.start, "end": entity.end}
    if entity.at is None:
        return {"entity_group": entity.label, "score": float(entity.score), **found}
    return {"entity": entity.label, "score": float(entity.score), "index": entity.at, **found}
