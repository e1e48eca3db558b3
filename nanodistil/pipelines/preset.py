"""A pipeline with arguments set once, `pipeline("ner", aggregation_strategy="simple")`: those of a call come on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import signature
from typing import Any

from nanodistil.weights.errors import InputError


class Preset:
    """Calls `pipeline` with `options`, unless a call says otherwise; everything else is the pipeline's own."""

    def __init__(self, pipeline: Any, options: dict[str, Any]) -> None:
        """Raises InputError for an option that the pipeline's calls do not take."""
        try:
            signature(getattr(pipeline, "_settings", pipeline.each)).bind_partial(**options)
        except TypeError as error:
            raise InputError(f"{type(pipeline).__name__}: {error}") from None
        self.pipeline = pipeline
        self.options = options

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        placed = signature(self.pipeline.__call__).bind_partial(*inputs).arguments  # by place: they overrule too
        kept = {name: value for name, value in self.options.items() if name not in placed}
        return self.pipeline(*inputs, **{**kept, **options})

    def each(self, inputs: Iterable[Any], first: int = 0, **options: Any) -> Iterator[Any]:
        """The answers one by one, see the pipeline's."""
        answers: Iterator[Any] = self.pipeline.each(inputs, first, **{**self.options, **options})
        return answers

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """For isinstance: it is what it presets."""
        return type(self.pipeline) if "pipeline" in self.__dict__ else Preset

    def __reduce__(self) -> tuple[Any, ...]:
        return Preset, (self.pipeline, self.options)

    def __getattr__(self, name: str) -> Any:
        if name == "pipeline":  # not set yet: while unpickling
            raise AttributeError(name)
        return getattr(self.pipeline, name)
