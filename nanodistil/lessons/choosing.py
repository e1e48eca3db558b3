"""`nanodistil generate --explain`: what every processor did to the scores, token by token.

The processors are those that the call would have, in their order (generation/ordering.py); each is followed by one that
looks. Probabilities are softmax of the scores at that point; a token is gone if its score is -inf.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nanodistil.backend import Array
from nanodistil.generation.generating import begun
from nanodistil.generation.plain import Plan
from nanodistil.generation.processing import LogitsProcessorList
from nanodistil.weights.errors import InputError

BEST = 5


@dataclass
class Stage:
    """The scores behind one processor, or as the model gave them."""

    name: str  # "the model", or the processor's class
    settings: dict[str, Any]  # its numbers
    left: int  # tokens that may still follow
    changed: int  # tokens whose score it changed
    best: list[tuple[str, float]]  # and their probabilities


@dataclass
class Chosen:
    """One token."""

    token: str
    number: int
    probability: float  # behind all processors
    stages: list[Stage] = field(default_factory=list)


@dataclass(repr=False)
class Written:
    """A text and how each of its new tokens was chosen."""

    prompt: str
    text: str
    drawn: bool  # by chance; else the best one
    tokens: list[Chosen] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def told(self, width: int = 100) -> str:
        """For people."""
        from nanodistil.lessons.telling import answers, cut

        lines = [self.text, ""]
        for count, chosen in enumerate(self.tokens, 1):
            how = "drawn" if self.drawn else "the best"
            lines.append(f"{count}. {chosen.token!r}, {how}: probability {chosen.probability:.3f}")
            for stage in chosen.stages:
                said = ", ".join(f"{name}={value}" for name, value in stage.settings.items())
                done = f": changed {stage.changed:,}, left {stage.left:,}" if stage is not chosen.stages[0] else ""
                lines.append(f"   {stage.name}{f'({said})' if said else ''}{done}")
                lines.append(f"      {answers([(repr(word), share) for word, share in stage.best])}")
        return "\n".join(cut(line, width) for line in lines)

    def __repr__(self) -> str:
        return self.told()


def choose(pipe: Any, text: str, **options: Any) -> Written:
    """One text written on by a text-generation pipeline, each choice told. options: those of the pipeline's call.

    Raises InputError for several answers, for beams and guesses, which choose otherwise, and as the pipeline.
    """
    prepared = pipe.prepare(text, pipe.settings(**options))
    call, asked = prepared.rows[0].wanted
    if not isinstance(call.way, Plan) or call.config.num_return_sequences != 1:
        raise InputError("one text is explained, not several nor beams: leave out num_beams and num_return_sequences")
    if asked.assistant_model is not None or call.config.prompt_lookup_num_tokens is not None:
        raise InputError("guesses are not explained: leave out what guesses")
    found = Written(text, "", call.way.streams is not None)
    stages: list[Stage] = []

    def look(name: str, settings: dict[str, Any], before: Array | None, scores: Array) -> None:
        finite = np.isfinite(scores)
        changed = 0 if before is None else int((before != scores).sum())
        stages.append(Stage(name, settings, int(finite.sum()), changed, _best(scores, pipe.tokenizer)))

    def starting(ids: Any, scores: Array) -> Array:
        stages.clear()
        look("the model", {}, None, scores[0])
        return scores

    def watched(processor: Any) -> Any:
        def process(ids: Any, scores: Array) -> Array:
            before = scores[0].copy()
            after = LogitsProcessorList([processor]).processed(ids, scores)
            look(type(processor).__name__, _settings(processor), before, after[0])
            return after

        return process

    def ending(ids: Any, scores: Array) -> Array:
        kept.append((list(stages), scores[0].copy()))
        return scores

    kept: list[tuple[list[Stage], Array]] = []
    way = call.way._replace(processors=LogitsProcessorList([starting, *map(watched, call.way.processors), ending]))
    sequences = begun(pipe.model, call._replace(way=way))
    new = sequences[0][len(call.prompts.ids[0]) :].tolist()
    for number, (seen, scores) in zip(new, kept, strict=False):
        share = float(_probabilities(scores)[number])
        found.tokens.append(Chosen(pipe.tokenizer.decode([number]), number, share, seen))
    found.text = pipe.finish(prepared, [[np.asarray(sequences[0])]], pipe.settings(**options))[0]["generated_text"]
    return found


def _probabilities(scores: Array) -> Array:
    e = np.exp(scores.astype(np.float64) - scores.max())
    found: Array = e / e.sum()
    return found


def _best(scores: Array, tokenizer: Any) -> list[tuple[str, float]]:
    probs = _probabilities(scores)
    order = np.argsort(-probs, kind="stable")[:BEST]
    return [(tokenizer.decode([int(i)]), float(probs[i])) for i in order if probs[i] > 0]


def _settings(processor: Any) -> dict[str, Any]:
    """The numbers of a processor that are one number."""
    named = vars(processor) if hasattr(processor, "__dict__") else {}
    return {
        name: value
        for name, value in named.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not name.startswith("_") and
        abs(value) != float("inf")
    }  # fmt: skip
