"""Labels of words: names of people and places, parts of speech.

    CoNLL columns: a word a line with its tag in the last column, an empty line between sentences
    JSONL: {"tokens": ["Sioux", "Falls"], "tags": ["B-LOC", "I-LOC"]}     (ner_tags is taken too)

Words are split into pieces. The first piece has the word's label and the others -100, which does not count, so that a
long word weighs no more than a short one, and at evaluation the first piece speaks for its word. A word of which the
tokenizer leaves nothing, and what is behind the longest length, is neither learned nor judged; how many words that
are is said. WikiANN's words carry their language ("en:Sioux"): where all words of a file do, it is taken off.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.config import DistilBertConfig
from nanodistil.heads import DistilBertForTokenClassification
from nanodistil.losses import IGNORED
from nanodistil.pipelines.batching import by_length, pace_of, padded
from nanodistil.reading.lines import lines_of
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.training import metrics
from nanodistil.training.tasks import Evaluation
from nanodistil.training.tasks.labels import check_names, classes_of, number_of
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.small_files import parsed

LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]+)?:")
OBJECTS = re.compile(r"\.(jsonl?|ndjson)(\.(gz|xz|bz2))?$")  # how a file of them is named
TAGS = ("tags", "ner_tags", "labels")


class Example(NamedTuple):
    place: str
    words: list[str]
    tags: list[Any]  # as many, as the file has them


class Row(NamedTuple):
    ids: Ints  # (T,)
    labels: Ints  # (T,) a class, or -100


@dataclass(frozen=True)
class TokenClassification:
    """Settings: labels, the names of the classes (where tags are numbers, or in another order than the alphabet's)."""

    labels: tuple[str, ...] = ()
    max_seq_length: int = 128

    HEAD: ClassVar[str] = "DistilBertForTokenClassification"

    def __post_init__(self) -> None:
        check_names(self.labels)

    def best(self, config: DistilBertConfig) -> tuple[str, bool]:
        return "f1", True

    def read(self, file: str | Path) -> list[Example]:
        examples = list(_objects(file) if OBJECTS.search(str(file)) else _sentences(file))
        if not examples:
            raise InputError(f"{file} has no sentences")
        if all(LANGUAGE.match(word) for one in examples for word in one.words):
            return [one._replace(words=[LANGUAGE.sub("", word, count=1) for word in one.words]) for one in examples]
        return examples

    def config(self, examples: Sequence[Example], config: DistilBertConfig) -> dict[str, Any]:
        return {"id2label": classes_of((tag for one in examples for tag in one.tags), self.labels, config)}

    def rows(self, examples: Sequence[Example], tokenizer: DistilBertTokenizer, config: DistilBertConfig) -> list[Row]:
        """Those that have a label: a batch without any would have no loss."""
        return [row for row in self._rows(examples, tokenizer, config) if (row.labels != IGNORED).any()]

    def _rows(self, examples: Sequence[Example], tokenizer: DistilBertTokenizer, config: DistilBertConfig) -> list[Row]:
        """One an example."""
        encoded = tokenizer(
            [one.words for one in examples],
            is_split_into_words=True,
            truncation=True,
            max_length=self.max_seq_length,
            verbose=False,
        )
        rows, lost = [], 0
        for i, (one, ids) in enumerate(zip(examples, encoded["input_ids"], strict=True)):
            classes = [number_of(tag, config, one.place, self.labels) for tag in one.tags]
            words = encoded.word_ids(i)
            first = [word is not None and word != before for before, word in zip([None, *words], words, strict=False)]
            labels = [classes[word] if new else IGNORED for word, new in zip(words, first, strict=True)]  # type: ignore[index]
            lost += len(classes) - sum(first)
            rows.append(Row(np.array(ids, np.int64), np.array(labels, np.int64)))
        if lost:
            total = sum(len(one.tags) for one in examples)
            warnings.warn(
                f"note: {lost} of {total} words are left out: behind {self.max_seq_length} tokens (--max-seq-length), "
                "or nothing to the tokenizer",
                stacklevel=2,
            )
        return rows

    def length(self, row: Row) -> int:
        return len(row.ids)

    def batch(self, rows: Sequence[Row], key: int = 0) -> dict[str, Any]:
        ids, real = padded([row.ids for row in rows])
        labels = np.full(ids.shape, IGNORED)
        labels[real] = np.concatenate([row.labels for row in rows])
        return {"input_ids": ids, "attention_mask": real, "labels": labels}

    def evaluate(
        self, model: DistilBertForTokenClassification, tokenizer: DistilBertTokenizer, examples: Sequence[Example]
    ) -> Evaluation:
        rows = self._rows(examples, tokenizer, model.config)

        def compute(ids: Ints, real: Mask) -> Iterator[Array]:
            yield from model(ids, real, return_dict=True).logits.argmax(-1)  # (T,) each

        best = by_length([row.ids for row in rows], compute, pace_of(model))
        names = model.config.id2label
        judged = [row.labels != IGNORED for row in rows]
        said = [[names[c] for c in classes[: len(at)][at].tolist()] for classes, at in zip(best, judged, strict=True)]
        truth = [[names[c] for c in row.labels[at].tolist()] for row, at in zip(rows, judged, strict=True)]
        return Evaluation(metrics.entities(said, truth), {"predictions": list(said)})


def _sentences(file: str | Path) -> Iterator[Example]:
    """The sentences of a file in columns."""
    words: list[str] = []
    tags: list[str] = []
    begun = 1
    with lines_of(str(file)) as lines:
        for raw in lines:
            line = lines.text(raw)
            if not line.strip(" \t\ufeff") or line.startswith("-DOCSTART-"):
                if words:
                    yield Example(lines.place(begun), words, tags)
                words, tags = [], []
                continue
            if not words:
                begun = lines.number
            cells = line.split("\t") if "\t" in line else line.split(" ")
            cells = [cell for cell in cells if cell.strip()]
            if len(cells) < 2:
                raise InputError(
                    f"{lines.place(lines.number)} has no tag: a word and its tag are needed, with a tab between"
                )
            words.append(cells[0])
            tags.append(cells[-1].strip())
        if words:
            yield Example(lines.place(begun), words, tags)


def _objects(file: str | Path) -> Iterator[Example]:
    """The sentences of a file of JSON lines."""
    with lines_of(str(file)) as lines:
        for raw in lines:
            text, place = lines.text(raw), lines.place(lines.number)
            if not text.strip():
                continue
            try:
                found = parsed(text)
            except ValueError as error:
                raise InputError(f"{place} is not JSON: {error}") from None
            words = found.get("tokens") if isinstance(found, dict) else None
            tags = next((found[name] for name in TAGS if name in found), None) if isinstance(found, dict) else None
            if not isinstance(words, list) or not isinstance(tags, list) or not all(isinstance(w, str) for w in words):
                raise InputError(f'{place} must have "tokens", a list of words, and "tags", a list of labels')
            if len(words) != len(tags):
                raise InputError(f"{place} has {len(words)} tokens and {len(tags)} tags")
            odd = [tag for tag in tags if not isinstance(tag, str | int) or not str(tag).strip()]
            if odd:
                raise InputError(f"{place} has a tag {excerpt(odd[0])}: a name or a number is needed")
            if words:
                yield Example(place, words, tags)
