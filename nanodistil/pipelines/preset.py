"""A pipeline with arguments set once, `pipeline("ner", aggregation_strategy="simple")`: those of a call come on top."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from inspect import Signature, signature
from typing import Any

from nanodistil.pipelines.tokens import OPTIONS
from nanodistil.weights.errors import InputError, excerpt, meant


def check_options(pipeline: type, options: Iterable[str], also: Iterable[str] = ()) -> None:
    """Raises InputError for an option that calls of this class do not take. also: what else may have been meant.

    So a misspelt one is found before a model is loaded for it.
    """
    kind: Any = pipeline
    taken = taken_by(kind).parameters
    known = [name for name in taken if name != "self"]
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        known += OPTIONS
    for name in options:
        if name not in known:
            hint = meant(name, [*known, *also]) or f"; there are {', '.join(known)}"
            raise InputError(f"{excerpt(name)} is no option of a {pipeline.__name__}{hint}")


@cache
def taken_by(pipeline: type) -> Signature:
    """What the settings of this class take, itself first; looked up once, since that takes longer than some calls."""
    takes: Any = pipeline.settings  # type: ignore[attr-defined]
    return signature(takes)


def settings_of(pipeline: Any, options: dict[str, Any]) -> Any:
    """What a pipeline makes of the options of a call. Raises InputError."""
    kind: Any = type(pipeline)
    check_options(kind, options)
    try:
        taken_by(kind).bind(pipeline, **options)
    except TypeError as error:
        raise InputError(f"{kind.__name__}: {error}") from None
    return pipeline.settings(**options)


def bound(function: Callable[..., Any], options: dict[str, Any]) -> bool:
    """Whether a function needs nothing besides."""
    try:
        signature(function).bind(**options)
    except TypeError:
        return False
    return True


class Preset:
    """Calls `pipeline` with `options`, unless a call says otherwise; everything else is the pipeline's own."""

    def __init__(self, pipeline: Any, options: dict[str, Any]) -> None:
        """Raises InputError for an option that the pipeline's calls do not take, or a value of one."""
        check_options(type(pipeline), options)
        options = {name: list(value) if isinstance(value, Iterator) else value for name, value in options.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come with the first call
            if bound(pipeline.settings, options):
                pipeline.settings(**options)
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
