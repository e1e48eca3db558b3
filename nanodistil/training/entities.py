"""Entities in the tags of a sentence's words, and how many were found: seqeval's figures, by its rules.

An entity is a kind and a stretch of words, from where it begins to where it ends. Tags are B-, I-, E-, S- and a kind,
or O. A kind that changes ends an entity and begins another, so that what lacks its B- counts too (the lenient mode,
which transformers' run_ner uses). A found entity is right if its kind and both its ends are.
"""

from __future__ import annotations

from collections.abc import Sequence

Entity = tuple[str, int, int]  # kind, first word, last word


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence.

    >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [('PER', 0, 1), ('LOC', 3, 3), ('LOC', 4, 4)]
    """
    found: list[Entity] = []
    before, kind_before, first = "O", "", 0
    for i, tag in enumerate([*tags, "O"]):
        place, kind = tag[:1], tag[1:].split("-", 1)[-1] or "_"
        if _ends(before, place) or (before not in ("O", ".") and kind_before != kind):
            found.append((kind_before, first, i - 1))
        if _begins(before, place) or (place not in ("O", ".") and kind_before != kind):
            first = i
        before, kind_before = place, kind
    return found


def _ends(before: str, place: str) -> bool:
    return before in ("E", "S") or (before in ("B", "I") and place in ("B", "S", "O"))


def _begins(before: str, place: str) -> bool:
    return place in ("B", "S") or (before in ("E", "S", "O") and place in ("E", "I"))


def kinds_of(predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> dict[str, tuple[int, int, int]]:
    """For each kind of entity how many were right, how many were said and how many there are, of all sentences."""

    def all_of(sentences: Sequence[Sequence[str]]) -> set[tuple[int, Entity]]:
        return {(i, one) for i, tags in enumerate(sentences) for one in entities(tags)}

    said, truth = all_of(predictions), all_of(labels)
    kinds = sorted({kind for _, (kind, _, _) in said | truth})
    counts = {kind: [0, 0, 0] for kind in kinds}
    for place, several in enumerate((said & truth, said, truth)):
        for _, (kind, _, _) in several:
            counts[kind][place] += 1
    return {kind: (right, found, there) for kind, (right, found, there) in counts.items()}
