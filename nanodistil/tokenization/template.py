"""What is put around a text, and around and between two: a value, the same for all that ask.

A class's own template speaks of roles, `Template.of("cls_token A sep_token", "cls_token A sep_token B:1 sep_token:1")`
is BERT's; a number behind a colon is the token type. `filled` makes one of tokens and their ids out of it, which is
what a tokenizer.json holds too. From that follow how many tokens are put in, which ids and types ready ids become, and
the framed Encoding. The first text always comes before the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.encodings import Frame

TEXTS = {"A": 0, "B": 1}
FILLINGS = 256  # remembered
NOTHING = Encoding.inserted(0, "", count=0)


class Slot(NamedTuple):
    """A text, or a token that is put in."""

    text: int | None  # 0 or 1: the first or the second text; None: a token
    type_id: int = 0
    token: str = ""  # in a class's template the token's role
    number: int = -1  # its id; -1 in a class's template

    def __str__(self) -> str:
        return next((name for name, text in TEXTS.items() if text == self.text), f"[{self.token[:3].upper()}]")


@dataclass(frozen=True)
class Template:
    """single: around a text. pair: around and between two. Raises ValueError for texts that are not there, or twice.

    >>> bert = Template.of("cls_token A sep_token", "cls_token A sep_token B:1 sep_token:1")
    >>> print(bert)
    [CLS] A [SEP] and [CLS] A [SEP] B [SEP]
    >>> filled = bert.filled({"cls_token": ("[CLS]", 2), "sep_token": ("[SEP]", 3)}.get)
    >>> filled.ids([7, 8], [9]), filled.types(2, 1), filled.around(pair=True)
    ([2, 7, 8, 3, 9, 3], [0, 0, 0, 0, 1, 1], 3)
    """

    single: tuple[Slot, ...]
    pair: tuple[Slot, ...]

    def __post_init__(self) -> None:
        for slots, texts in ((self.single, [0]), (self.pair, [0, 1])):
            if [slot.text for slot in slots if slot.text is not None] != texts:
                raise ValueError(f"a template needs the texts {texts}, once and in that order")

    def __str__(self) -> str:
        return " and ".join(" ".join(map(str, slots)) for slots in (self.single, self.pair))

    @classmethod
    def of(cls, single: str, pair: str) -> Template:
        """From words: A and B are the texts, all others roles."""

        def slot(word: str) -> Slot:
            name, _, kind = word.partition(":")
            return Slot(TEXTS.get(name), int(kind or 0), "" if name in TEXTS else name)

        return cls(tuple(map(slot, single.split())), tuple(map(slot, pair.split())))

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """Of a class's template: the roles in it, each once."""
        return tuple(role for role, _ in self.put_in())

    def filled(self, find: Callable[[str], tuple[str, int] | None]) -> Template:
        """With tokens and ids in place of roles; a role for which `find` knows none is left out."""
        found = tuple(map(find, self.roles))
        known = self._fillings.get(found)  # it is asked for with every row of ready ids
        if known is None:
            known = Template(*(self._with(slots, found) for slots in (self.single, self.pair)))
            if len(self._fillings) < FILLINGS:
                self._fillings[found] = known
        return known

    @cached_property
    def _fillings(self) -> dict[tuple[tuple[str, int] | None, ...], Template]:
        return {}

    def _with(self, slots: tuple[Slot, ...], found: tuple[tuple[str, int] | None, ...]) -> tuple[Slot, ...]:
        tokens = dict(zip(self.roles, found, strict=True))
        pairs = [(slot, None if slot.text is not None else tokens[slot.token]) for slot in slots]
        kept = [(slot, token) for slot, token in pairs if slot.text is not None or token is not None]
        return tuple(slot._replace(token=token[0], number=token[1]) if token else slot for slot, token in kept)

    def put_in(self) -> list[tuple[str, int]]:
        """The tokens of both forms with their ids, each once, as they come."""
        return list(
            dict.fromkeys((slot.token, slot.number) for slot in (*self.single, *self.pair) if slot.text is None)
        )

    def around(self, pair: bool = False) -> int:
        """Tokens put around a text, or around and between the texts of a pair."""
        return len(self.pair) - 2 if pair else len(self.single) - 1

    @property
    def leading(self) -> int:
        """Tokens put before a single text."""
        return next(i for i, slot in enumerate(self.single) if slot.text is not None)

    def before(self, n: int) -> int:
        """How much stands before the second text of a pair whose first has n ids."""
        return n + next(i for i, slot in enumerate(self.pair) if slot.text == 1) - 1

    def type_of(self, text: int, pair: bool) -> int:
        """The token type of a text."""
        return next(slot.type_id for slot in (self.pair if pair else self.single) if slot.text == text)

    def ids(self, a: list[int], b: list[int] | None = None) -> list[int]:
        """The ids of one text or two, framed."""
        texts = (a, b or [])
        slots = self.single if b is None else self.pair
        return [number for s in slots for number in ([s.number] if s.text is None else texts[s.text])]

    def types(self, n: int, m: int | None = None) -> list[int]:
        """The token types of a text of n ids, framed, or of a pair of n and m."""
        lengths = (n, m or 0)
        slots = self.single if m is None else self.pair
        return [s.type_id for s in slots for _ in range(1 if s.text is None else lengths[s.text])]

    def frame(self) -> Frame | None:
        """What the compiled scan puts around a text; None if that is more than a token on each side, or of a type."""
        at = self.single.index(next(slot for slot in self.single if slot.text is not None))
        before, after = self.single[:at], self.single[at + 1 :]
        if len(before) > 1 or len(after) > 1 or any(slot.type_id for slot in self.single):
            return None
        first, last = ((side[0].token, side[0].number) if side else None for side in (before, after))
        return Frame(first, last)

    @cached_property
    def _gaps(self) -> tuple[list[Encoding], list[Encoding]]:
        """What is put in before the first text, between two, and after the last: of one text, of a pair."""
        out: tuple[list[Encoding], list[Encoding]] = ([], [])
        for slots, gaps in zip((self.single, self.pair), out, strict=True):
            gaps.append(Encoding.inserted(0, "", count=0))
            for slot in slots:
                if slot.text is None:
                    gaps[-1] += Encoding.inserted(slot.number, slot.token, slot.type_id)
                else:
                    gaps.append(Encoding.inserted(0, "", count=0))
        return out

    def framed(self, a: Encoding, b: Encoding | None = None) -> Encoding:
        """A text, or two, with what belongs around them."""
        if b is None:
            (x, y), b, z = self._gaps[0], NOTHING, NOTHING
        else:
            x, y, z = self._gaps[1]
        first = range(len(x.ids), len(x.ids) + len(a.ids))
        start = first.stop + len(y.ids)
        ranges = {0: first} if b is NOTHING else {0: first, 1: range(start, start + len(b.ids))}
        put = x.special_tokens_mask, y.special_tokens_mask, z.special_tokens_mask
        return Encoding(
            [*x.ids, *a.ids, *y.ids, *b.ids, *z.ids],
            [*x.type_ids, *a.type_ids, *y.type_ids, *b.type_ids, *z.type_ids],
            [*x.tokens, *a.tokens, *y.tokens, *b.tokens, *z.tokens],
            [*x.offsets, *a.offsets, *y.offsets, *b.offsets, *z.offsets],
            [*x.word_ids, *a.word_ids, *y.word_ids, *b.word_ids, *z.word_ids],
            [*put[0], *a.special_tokens_mask, *put[1], *b.special_tokens_mask, *put[2]],
            [*x.attention_mask, *a.attention_mask, *y.attention_mask, *b.attention_mask, *z.attention_mask],
            ranges,
        )  # a line each and not four additions: a third of the time of a short text
