"""SQuAD's way of scoring answers: from start and end logits to a text, and from texts to exact match and F1.

    windows of one context, each with its logits -> pairs of a start and an end -> the n best texts -> one answer
    answers and what people answered -> exact match, F1, and for questions without an answer the best threshold

A pair counts if both ends are among the n best of their window, stand in the context, in order, at most `longest`
tokens apart, and the start is in the window that shows most around it (`widest`): windows overlap, and a token that
several contain is judged where it has the most context. In version 2 of the data a question may have no answer. The
score for that is start plus end logit of [CLS], in the window where it is lowest; what remains of it above the best
text's score is the question's null odds, and no text is given if they exceed a threshold (Rajpurkar et al. 2018).

Texts are cut out of the context by the tokenizer's offsets; but a pair that starts inside a word gives whole words,
from space to space. The original scripts know only word pieces, glue them together and search for the result in the
context, and if that fails, as it does for a piece "##ing" at the start, they give whole words. So a text can differ
from theirs if their search fails for another reason, such as a letter that lower-casing made two of. Their word
"empty", which stands in for an answer if there is no pair at all, is "" here.

Scoring is that of the official script for versions 1.1 and 2.0.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nanodistil.backend import Array, Mask
from nanodistil.pipelines.ranking import largest
from nanodistil.pipelines.scores import softmax

PUNCTUATION = frozenset(string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")

# -------------------------------------------------------------------------------------------------- logits to texts


class Window(NamedTuple):
    """A part of a context behind its question, as a row of T ids."""

    before: int  # tokens of the row before the context's: [CLS], question, [SEP]
    first: int  # of the context's tokens, the first that the row has
    widest: Mask  # (n,) whether no other window shows more around the token; n of the context's tokens are here


class Candidate(NamedTuple):
    """One text that may be the answer."""

    text: str
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        return self.start_logit + self.end_logit


class Answered(NamedTuple):
    """What a model makes of one question."""

    nbest: list[Candidate]  # best first; the text "" says that there is no answer
    probabilities: list[float]  # of these, a softmax over their scores
    best: str  # the best text that is one, or "" if there is none
    null_odds: float  # the score of no answer less the best text's; -inf if every question has an answer


def widest(windows: Sequence[tuple[int, int]]) -> list[Mask]:
    """For every window [start, end) of a context which of its tokens no other window shows with more around them.

    More is: more tokens on the side where there are fewer; of equals the longer window, then the earlier.

    >>> [mask.astype(int).tolist() for mask in widest([(0, 5), (3, 8)])]
    [[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]]
    """
    n = max(end for _, end in windows)
    best, owner = np.full(n, -np.inf), np.zeros(n, np.int64)
    for number, (start, end) in enumerate(windows):
        at = np.arange(start, end)
        around = np.minimum(at - start, end - 1 - at) + 0.01 * (end - start)
        better = around > best[start:end]
        best[start:end] = np.where(better, around, best[start:end])
        owner[start:end] = np.where(better, number, owner[start:end])
    return [owner[start:end] == number for number, (start, end) in enumerate(windows)]


def answered(
    context: str,
    offsets: Sequence[tuple[int, int]],
    inside: Sequence[bool],
    windows: Sequence[Window],
    logits: Sequence[tuple[Array, Array]],
    *,
    n_best: int = 20,
    longest: int = 30,
    may_be_none: bool = False,
) -> Answered:
    """The best texts of all windows of one context.

    offsets: characters [start, end) of the context's tokens. inside: whether a token goes on with a word.
    logits: of starts and of ends, (T,) each, a window.
    longest: in tokens. may_be_none: whether "" is among the candidates.
    """
    spans: list[tuple[float, float, int, int]] = []  # logits, tokens of the context
    null = (np.inf, 0.0, 0.0)  # score, logits
    for window, (start, end) in zip(windows, logits, strict=True):
        null = min(null, (float(start[0] + end[0]), float(start[0]), float(end[0])), key=lambda found: found[0])
        n, ends = len(window.widest), largest(end, n_best) - window.before
        for i in largest(start, n_best) - window.before:
            if 0 <= i < n and window.widest[i]:
                for j in ends:
                    if i <= j < min(n, i + longest):
                        at = (float(start[i + window.before]), float(end[j + window.before]))
                        spans.append((*at, int(i) + window.first, int(j) + window.first))
    found = [Candidate("", *null[1:])] if may_be_none else []
    found = sorted([*(_candidate(context, offsets, inside, *span) for span in spans), *found], key=lambda c: -c.score)
    seen: dict[str, Candidate] = {}
    for candidate in found:
        if len(seen) == n_best:
            break
        seen.setdefault(candidate.text, candidate)
    if may_be_none:
        seen.setdefault("", Candidate("", *null[1:]))
    nbest = list(seen.values()) or [Candidate("", 0.0, 0.0)]
    best = next((candidate for candidate in nbest if candidate.text), None)
    odds = -np.inf if not may_be_none else np.inf if best is None else null[0] - best.score
    scores = softmax(np.array([candidate.score for candidate in nbest]))
    return Answered(nbest, scores.tolist(), best.text if best else "", float(odds))


def _candidate(
    context: str,
    offsets: Sequence[tuple[int, int]],
    inside: Sequence[bool],
    start: float,
    end: float,
    first: int,
    last: int,
) -> Candidate:
    """The text of tokens first to last."""
    begin, stop = offsets[first][0], offsets[last][1]
    if inside[first]:
        while begin > 0 and not context[begin - 1].isspace():
            begin -= 1
        while stop < len(context) and not context[stop].isspace():
            stop += 1
    return Candidate(" ".join(context[begin:stop].split()), start, end)


# ---------------------------------------------------------------------------------------------------- texts to scores


def normalized(text: str) -> str:
    """Lower case, without punctuation, articles and superfluous spaces.

    >>> normalized("The  Eiffel-Tower!")
    'eiffeltower'
    """
    bare = "".join(c for c in text.lower() if c not in PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", bare).split())


def exact(given: str, truth: str) -> float:
    """1 if the two are the same once normalized, else 0."""
    return float(normalized(given) == normalized(truth))


def f1(given: str, truth: str) -> float:
    """The harmonic mean of precision and recall of words; if one of the two is empty, whether both are.

    >>> round(f1("the tall tower", "a tower in Paris"), 3)
    0.4
    """
    mine, theirs = normalized(given).split(), normalized(truth).split()
    if not mine or not theirs:
        return float(mine == theirs)
    same = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * same / (len(mine) + len(theirs))


class Score(NamedTuple):
    exact: float
    f1: float


def score(given: str, answers: Sequence[str]) -> Score:
    """Against the answer that it matches best; no answers, or none that normalizing leaves anything of, are [""]."""
    truths = [truth for truth in answers if normalized(truth)] or [""]
    return Score(max(exact(given, t) for t in truths), max(f1(given, t) for t in truths))


def metrics(
    truths: Mapping[str, Sequence[str]],
    texts: Mapping[str, str],
    null_odds: Mapping[str, float] | None = None,
    threshold: float = 0.0,
) -> dict[str, float]:
    """Question id -> its answers ([] if it has none), and -> what was answered, to the official script's figures.

    null_odds: for version 2. An answer then counts as none if they exceed the threshold, and best_exact and best_f1
    say what the best threshold would give. Shares are in per cent. Questions without an entry in `texts` do not count.

    >>> metrics({"1": ["the tower"]}, {"1": "tall tower"})
    {'exact': 0.0, 'f1': 66.66666666666666, 'total': 1}
    """
    scores = {key: score(texts[key], answers) for key, answers in truths.items() if key in texts}
    answerable = {key: bool(truths[key]) for key in scores}
    final = dict(scores)
    for key, odds in (null_odds or {}).items():
        if key in scores and odds > threshold:
            final[key] = Score(*(2 * [float(not answerable[key])]))
    found = _means("", list(final.values()))
    if null_odds is not None:
        for name, kind in (("HasAns_", True), ("NoAns_", False)):
            part = [final[key] for key in scores if answerable[key] is kind]
            found |= _means(name, part) if part else {}
        for field in Score._fields:
            best, at = _best_threshold({k: getattr(s, field) for k, s in scores.items()}, answerable, texts, null_odds)
            found |= {f"best_{field}": best, f"best_{field}_thresh": at}
    return found


def _means(prefix: str, scores: Sequence[Score]) -> dict[str, float]:
    n = len(scores)
    means = [100.0 * sum(values) / n if n else 0.0 for values in zip(*scores, strict=True)] or [0.0, 0.0]
    return {f"{prefix}exact": means[0], f"{prefix}f1": means[1], f"{prefix}total": n}


def _best_threshold(
    scores: Mapping[str, float],
    answerable: Mapping[str, bool],
    texts: Mapping[str, str],
    null_odds: Mapping[str, float],
) -> tuple[float, float]:
    """The best score, in per cent, that a threshold on the null odds can give, and the lowest such threshold.

    At first no question is answered, and all without an answer are right. Then one after the other is answered, in the
    order of the odds: which adds its score, or takes 1 away if "" was right and a text is given.
    """
    now = best = float(sum(not known for known in answerable.values()))
    at = 0.0
    for key in sorted((key for key in null_odds if key in scores), key=lambda key: null_odds[key]):
        now += scores[key] if answerable[key] else -float(bool(texts[key]))
        if now > best:
            best, at = now, null_odds[key]
    return 100.0 * best / len(scores) if scores else 0.0, at
