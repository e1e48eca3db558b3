"""What generate() returns with return_dict_in_generate=True; transformers' names of fields."""

from __future__ import annotations

from dataclasses import dataclass

from nanodistil.backend import Array, Ints
from nanodistil.outputs import Output


@dataclass(frozen=True, eq=False)
class GenerateDecoderOnlyOutput(Output):
    """Without beams. scores and logits: of each step (S, V), zero for sequences at their end."""

    sequences: Ints  # (S, T): prompts as they were given, what was generated, padding
    scores: tuple[Array, ...] | None = None  # processed, what a token was chosen by
    logits: tuple[Array, ...] | None = None  # as the model gives them


@dataclass(frozen=True, eq=False)
class GenerateBeamDecoderOnlyOutput(Output):
    """With beams. scores and logits: of each step (B * num_beams, V), zero for prompts whose search is over."""

    sequences: Ints  # (B * num_return_sequences, T), each prompt's best first
    sequences_scores: Array | None = None  # (B * num_return_sequences,)
    scores: tuple[Array, ...] | None = None
    logits: tuple[Array, ...] | None = None
    beam_indices: Ints | None = None  # (B * num_return_sequences, new tokens): the row of each step's scores, or -1
