"""A family's names beside a DistilBERT's: the same arrays, called otherwise.

DistilBERT took BERT's layer over as it was, and renamed all of it; their relatives did likewise. So no family needs a
table of shapes of its own: it says which of its modules is which of names.py, and from there on its arrays go under
DistilBERT's names, in memory, in layouts, in training. Only files know others.

    NAMES = Renamed("bert.", "encoder.layer.", {"attention.self.query": "attention.q_lin", ...}, {"pooler.dense": ...})

`Names` is what reading and writing a file ask of any family: the module names.py answers for DistilBERT.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from . import names
from .names import Head
from .side_by_side import Part

EMBEDDINGS = {  # what BERT's descendants call as DistilBERT does
    f"embeddings.{name}": f"embeddings.{name}"
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")
}


class Names(Protocol):
    """A table of names: the module names.py, or another family's."""

    @property
    def PREFIX(self) -> str:
        """What stands before the body's names in a file written by a task's model."""

    @property
    def COPIES(self) -> Mapping[str, str]:
        """What files may hold twice: the name of the copy -> of the array, which some files hold as its copy alone."""

    def canonical(self, name: str, /) -> str | None:
        """The name in names.py for what a file calls `name`; None for what is no weight of any use."""

    def filed(self, name: str, head: Head, /) -> str:
        """The inverse of `canonical`: the family's name for the array in a file of this head."""

    def set_aside(self, name: str, head: Head, /) -> bool:
        """Whether a model of this head leaves a canonical name of the file alone without a word."""

    def parts(self, name: str, /) -> tuple[Part, ...]:
        """What an array of a file is taken apart into (side_by_side.py), under names of the family; () if it is one."""

    def whole(self, name: str, /) -> str:
        """The array of a file that this one is a part of; its own name if it is none."""


@dataclass(frozen=True)
class Renamed:
    """Names of a family's modules, and which of names.py each is.

    >>> table = Renamed("bert.", "encoder.layer.", {"output.dense": "ffn.lin2"}, {"pooler.dense": "pre_classifier"})
    >>> table.canonical("bert.encoder.layer.3.output.dense.bias"), table.canonical("bert.pooler.dense.bias")
    ('transformer.layer.3.ffn.lin2.bias', 'pre_classifier.bias')
    >>> table.filed("transformer.layer.3.ffn.lin2.bias", names.Bare(bare=False))
    'bert.encoder.layer.3.output.dense.bias'
    """

    PREFIX: str
    layers: str  # what a layer's number stands behind
    layer: Mapping[str, str]  # the family's module behind that number -> ours behind "transformer.layer.0."
    others: Mapping[str, str]  # any other module -> ours; an array by its whole name, if its module is not enough
    COPIES: Mapping[str, str] = field(default_factory=dict)
    no_weights: Collection[str] = ()  # names of the files, or those in a layer, that are of no use
    body: tuple[str, ...] = ("embeddings.", "encoder.", "pooler.")  # what the body's names begin with
    many_heads: bool = False  # whether files have heads besides the wanted one, of which nobody needs to be told
    turned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # module of a layer -> the maps in it, turned

    def canonical(self, name: str, /) -> str | None:
        """As Names has it. What is unknown keeps its name behind the prefix, so that it is none of ours."""
        name = name.removeprefix(self.PREFIX)
        if name in self.no_weights or name in self.COPIES:
            return None
        module, _, last = name.rpartition(".")
        ours = self.others.get(name, f"{self.others[module]}.{last}" if module in self.others else None)
        if module.startswith(self.layers):
            number, _, inner = module.removeprefix(self.layers).partition(".")
            if f"{inner}.{last}" in self.no_weights:
                return None
            ours = f"transformer.layer.{number}.{self.layer[inner]}.{last}" if inner in self.layer else None
        return names.canonical(ours) if ours else self.PREFIX + name

    def filed(self, name: str, head: Head, /) -> str:
        """As Names has it."""
        module, _, last = name.rpartition(".")
        theirs = {ours: theirs for theirs, ours in self.others.items()}
        if name in theirs:
            filed = theirs[name]
        elif module.startswith("transformer.layer."):
            number, _, inner = module.removeprefix("transformer.layer.").partition(".")
            inner = next(theirs for theirs, ours in self.layer.items() if ours == inner)
            filed = f"{self.layers}{number}.{inner}.{last}"
        else:
            filed = f"{theirs[module]}.{last}"
        return self.PREFIX + filed if filed.startswith(self.body) and not head.bare else filed

    def set_aside(self, name: str, head: Head, /) -> bool:
        """As Names has it."""
        return names.is_head(name) and (head.bare or self.many_heads)

    def parts(self, name: str, /) -> tuple[Part, ...]:
        """As Names has it.

        >>> table = Renamed("", "h.", {}, {}, turned={"c_attn": ("c_attn.q", "c_attn.k")})
        >>> [part.name for part in table.parts("h.0.c_attn.bias")]
        ['h.0.c_attn.q.bias', 'h.0.c_attn.k.bias']
        """
        at, layers, rest = name.partition(self.layers)
        number, _, inner = rest.rpartition(".")[0].partition(".")
        maps, last = self.turned.get(inner, ()), name.rpartition(".")[2]
        named = [f"{at}{layers}{number}.{part}.{last}" for part in maps] if number.isdigit() else []
        return tuple(Part(part, i, len(named)) for i, part in enumerate(named))

    def whole(self, name: str, /) -> str:
        """As Names has it.

        >>> Renamed("", "h.", {}, {}, turned={"c_attn": ("c_attn.q", "c_attn.k")}).whole("h.0.c_attn.k.bias")
        'h.0.c_attn.bias'
        """
        at, layers, rest = name.partition(self.layers)
        number, _, inner = rest.rpartition(".")[0].partition(".")
        stored = next((whole for whole, maps in self.turned.items() if inner in maps), inner)
        return f"{at}{layers}{number}.{stored}.{name.rpartition('.')[2]}" if number.isdigit() else name


def without_copies(files: Collection[str], table: Names) -> list[str]:
    """The names of a file, each; an array that is there as its copy alone goes under its own.

    >>> table = Renamed("", "", {}, {}, COPIES={"decoder.bias": "bias"})
    >>> without_copies(["decoder.bias"], table), without_copies(["bias", "decoder.bias"], table)
    (['bias'], ['bias', 'decoder.bias'])
    """
    there = set(files)
    return [own if (own := table.COPIES.get(name)) and own not in there else name for name in files]
