"""Labels of words: names of people and places, parts of speech.

    CoNLL columns: a word a line with its tag in the last column, an empty line between sentences
    CoNLL-U: the words (no ranges, no empty nodes) with their UPOS
    JSON, JSONL: {"tokens": ["Sioux", "Falls"], "tags": ["B-LOC", "I-LOC"]}     (ner_tags is taken too)

Words are split into pieces. The first piece has the word's label and the others -100, which does not count, so that a
long word weighs no more than a short one, and at evaluation the first piece speaks for its word. A word of which the
tokenizer leaves nothing, and what is behind the longest length, is neither learned nor judged; how many words that are
is said, and among the predictions each has O, or _ of a model without an O. WikiANN's words carry their language
("en:Sioux"): if all words of a file do, it is taken off.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.config import Config
from nanodistil.heads.token_classification import ForTokenClassification
from nanodistil.losses import IGNORED
from nanodistil.pipelines.batching import Row, by_length, inputs_of, pace_of
from nanodistil.reading import forms
from nanodistil.reading.lines import lines_of
from nanodistil.reading.records import Column, numbered
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training import metrics
from nanodistil.training.tasks import Evaluation
from nanodistil.training.tasks.labels import check_names, classes_of, number_of
from nanodistil.weights.errors import InputError, excerpt

LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]+)?:")
CONLL_U = 10  # columns: number, word, lemma, UPOS, ...
NUMBERED = re.compile(rb"[0-9]+([-.][0-9]+)?")
TAGS = ("tags", "ner_tags", "labels")


class Example(NamedTuple):
    place: str
    words: list[str]
    tags: list[Any]  # as many, as the file has them


class Learned(NamedTuple):
    row: Row
    labels: Ints  # (T,) a class, or -100
    words: list[int]  # the numbers of the words that have one


@dataclass(frozen=True)
class TokenClassification:
    """Settings: labels, the names of the classes (if tags are numbers, or in another order than the alphabet's)."""

    labels: tuple[str, ...] = ()
    max_seq_length: int = 128

    HEAD: ClassVar[str] = "ForTokenClassification"

    def __post_init__(self) -> None:
        check_names(self.labels)

    def best(self, config: Config) -> tuple[str, bool]:
        return metrics.deciding_entity(list(config.id2label.values())), True

    def read(self, file: str | Path) -> list[Example]:
        form = forms.format_of(str(file))
        examples = list(_objects(file, form) if form in ("json", "jsonl") else _sentences(file))
        if not examples:
            raise InputError(f"{file} has no sentences")
        if all(LANGUAGE.match(word) for one in examples for word in one.words):
            return [one._replace(words=[LANGUAGE.sub("", word, count=1) for word in one.words]) for one in examples]
        return examples

    def config(self, examples: Sequence[Example], config: Config) -> dict[str, Any]:
        return {"id2label": classes_of((tag for one in examples for tag in one.tags), self.labels, config)}

    def rows(self, examples: Sequence[Example], tokenizer: Tokenizer, config: Config) -> list[Learned]:
        """Those that have a label: a batch without any would have no loss."""
        return [row for row in self._rows(examples, tokenizer, config) if (row.labels != IGNORED).any()]

    def _rows(self, examples: Sequence[Example], tokenizer: Tokenizer, config: Config) -> list[Learned]:
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
            judged = [word for word, new in zip(words, first, strict=True) if new and word is not None]
            rows.append(Learned(Row(np.array(ids, np.int64)), np.array(labels, np.int64), judged))
        if lost:
            total = sum(len(one.tags) for one in examples)
            warnings.warn(
                f"note: {lost} of {total} words are left out: behind {self.max_seq_length} tokens (--max-seq-length), "
                "or nothing to the tokenizer",
                stacklevel=2,
            )
        return rows

    def length(self, row: Learned) -> int:
        return len(row.row)

    def batch(self, rows: Sequence[Learned], key: int = 0) -> dict[str, Any]:
        inputs = inputs_of([row.row for row in rows])
        labels = np.full(inputs["input_ids"].shape, IGNORED)
        labels[inputs["attention_mask"]] = np.concatenate([row.labels for row in rows])
        return {**inputs, "labels": labels}

    def evaluate(self, model: ForTokenClassification, tokenizer: Tokenizer, examples: Sequence[Example]) -> Evaluation:
        rows = self._rows(examples, tokenizer, model.config)

        def compute(inputs: dict[str, Any]) -> Iterator[Array]:
            yield from model(**inputs, return_dict=True).logits.argmax(-1)  # (T,) each

        best = by_length([row.row for row in rows], compute, pace_of(model))
        names = model.config.id2label
        judged = [row.labels != IGNORED for row in rows]
        said = [[names[c] for c in classes[: len(at)][at].tolist()] for classes, at in zip(best, judged, strict=True)]
        truth = [[names[c] for c in row.labels[at].tolist()] for row, at in zip(rows, judged, strict=True)]
        nothing = "O" if "O" in model.config.label2id else "_"
        predictions = [[nothing] * len(one.words) for one in examples]
        for labels, found, row in zip(predictions, said, rows, strict=True):
            for word, label in zip(row.words, found, strict=True):
                labels[word] = label
        return Evaluation(metrics.entities(said, truth), {"predictions": predictions})


def _sentences(file: str | Path) -> Iterator[Example]:
    """The sentences of a file in columns.

    Lines end at a line feed and cells at a tab, or at spaces if there is no tab; whatever else looks like a space (a
    no-break one, U+2028, a form feed) may be a word.
    """
    words: list[str] = []
    tags: list[str] = []
    begun, width = 1, 0
    with lines_of(str(file)) as lines:
        numbered_lines, universal = _form(numbered(lines))
        for number, raw in numbered_lines:
            line, place = lines.text(raw, number), lines.place(number)
            cells = _cells(line)
            if not cells or cells[0] == "-DOCSTART-":
                if words:
                    yield Example(lines.place(begun), words, tags)
                words, tags = [], []
                continue
            if universal and (line.startswith("#") or not cells[0].isdecimal()):
                continue  # a comment; a range of words that follow (1-2), or one that is not there (1.1)
            if not words:
                begun = number
            if universal:
                cells = [cells[1], cells[3]] if len(cells) == CONLL_U else cells
            if len(cells) < 2:
                raise InputError(f"{place} has no tag: a word and its tag are needed, with a tab between")
            if len(cells) != width and width:
                raise InputError(f"{place} has {len(cells)} columns, and those before it have {width}")
            width = len(cells)
            words.append(cells[0])
            tags.append(cells[-1].strip(" "))
        if words:
            yield Example(lines.place(begun), words, tags)


def _cells(line: str) -> list[str]:
    """The cells of a line that have anything; of a table by tabs a space alone may be the word.

    >>> _cells("a b  O"), _cells("\\u00a0 O"), _cells("in spite\\tO\\t"), _cells(" \\tO"), _cells("\\t ")
    (['a', 'b', 'O'], ['\\xa0', 'O'], ['in spite', 'O'], [' ', 'O'], [])
    """
    if not line.strip(" \t\ufeff"):  # a byte order mark alone ends some files
        return []
    if "\t" not in line:
        return [cell for cell in line.split(" ") if cell]
    return [cell.strip(" ") or cell for cell in line.split("\t") if cell]


def _form(lines: Iterator[tuple[int, bytes]]) -> tuple[Iterator[tuple[int, bytes]], bool]:
    """The lines, and whether they are CoNLL-U: ten columns, the first a number. A "#" is a word in other files."""
    begun = []
    for pair in lines:
        begun.append(pair)
        if pair[1].strip() and not pair[1].startswith(b"#"):
            first, *others = pair[1].split(b"\t")
            return chain(begun, lines), len(others) == CONLL_U - 1 and NUMBERED.fullmatch(first) is not None
    return iter(begun), False


def _objects(file: str | Path, form: str) -> Iterator[Example]:
    """The sentences of a file of JSON records."""
    with lines_of(str(file)) as lines:
        for place, _, problem, found in forms.records_of(lines, form, [Column("", [], False, False)], False):
            if problem is not None:
                raise problem
            words, tags = found.get("tokens"), next((found[name] for name in TAGS if name in found), None)
            if not isinstance(words, list) or not isinstance(tags, list) or not all(isinstance(w, str) for w in words):
                raise InputError(f'{place} must have "tokens", a list of words, and "tags", a list of labels')
            if len(words) != len(tags):
                raise InputError(f"{place} has {len(words)} tokens and {len(tags)} tags")
            odd = [tag for tag in tags if not isinstance(tag, str | int) or not str(tag).strip()]
            if odd:
                raise InputError(f"{place} has a tag {excerpt(odd[0])}: a name or a number is needed")
            if words:
                yield Example(place, words, tags)
