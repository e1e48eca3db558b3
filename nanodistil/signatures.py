"""Signatures spelled out: what stands as **options in the source stands by name in help() and in an editor's hints.

Several calls share a set of keyword arguments, a TypedDict. Type checkers read `**options: Unpack[Options]` as the
arguments it stands for; help(), inspect and notebooks do not, and Python finds a misspelt one only in whatever private
function it is handed on to. So the decorator writes the signature down, and refuses what is not in it by the name that
was called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Call = TypeVar("Call", bound=Callable[..., Any])


def spelled_out(options: Any, *, refuse: bool = True, more: bool = False, **defaults: Any) -> Callable[[Call], Call]:
    """For a method with **options: Unpack[options]. defaults: those that are not None.

    refuse: False if the method itself refuses what is unknown. more: it takes others besides, which stay in the
    signature as **options.

    >>> from typing import TypedDict, Unpack
    >>> class Options(TypedDict, total=False):
    ...     loud: bool
    >>> class Horn:
    ...     @spelled_out(Options, loud=True)
    ...     def __call__(self, times: int, **options: Unpack[Options]) -> str:
    ...         return times * ("HONK" if options.get("loud", True) else "honk")
    >>> list(inspect.signature(Horn()).parameters), Horn()(2, loud=False)
    (['times', 'loud'], 'honkhonk')
    >>> Horn()(2, lout=False)
    Traceback (most recent call last):
    TypeError: Horn() got an unexpected keyword argument 'lout'
    """

    def decorated(function: Call) -> Call:
        own = inspect.signature(function)
        named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        others = [p for p in own.parameters.values() if p.kind is p.VAR_KEYWORD and more]
        shared = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name),
                annotation=getattr(annotation, "__forward_arg__", annotation),
            )
            for name, annotation in options.__annotations__.items()
        ]
        known = {p.name for p in (*named, *shared)}
        method = "" if function.__name__ == "__call__" else f".{function.__name__}"

        @wraps(function)
        def call(self: Any, *arguments: Any, **given: Any) -> Any:
            for name in given if refuse and not more else ():
                if name not in known and name not in getattr(self, "takes_too", ()):
                    raise TypeError(f"{type(self).__name__}{method}() got an unexpected keyword argument {name[:60]!r}")
            return function(self, *arguments, **given)

        call.__signature__ = own.replace(parameters=[*named, *shared, *others])  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorated


def call_with(cls: type[Any], first: tuple[str, ...]) -> None:
    """Make the class's call take these arguments first and in this order, and then its others, in theirs.

    An argument that the call did not name is one more that it takes, by `takes_too`.

    >>> class Bell:
    ...     def __call__(self, times: int = 1, *, loud: bool = False) -> str:
    ...         return times * ("DONG" if loud else "dong")
    >>> call_with(Bell, ("loud",))
    >>> list(inspect.signature(Bell()).parameters), Bell()(True, 2)
    (['loud', 'times'], 'DONGDONG')
    """
    if not first:
        return
    function: Any = cls.__call__
    itself, *others = inspect.signature(function).parameters.values()
    by_name = {p.name: p for p in others}
    last = [p for p in others if p.name not in first]
    one_more = inspect.Parameter("one_more", itself.kind, default=None, annotation="Arrays")
    places = [by_name.get(name, one_more).replace(name=name, kind=itself.kind) for name in first]
    places += [p for p in last if p.kind is itself.kind]

    @wraps(function)
    def call(self: Any, *arguments: Any, **given: Any) -> Any:
        if len(arguments) > len(places):
            raise TypeError(f"{cls.__name__}() takes {len(places)} arguments by place, not {len(arguments)}")
        for place, value in zip(places, arguments, strict=False):
            if place.name in given:
                raise TypeError(f"{cls.__name__}() got multiple values for argument {place.name!r}")
            given[place.name] = value
        return function(self, **given)

    named = [p for p in last if p.kind is not itself.kind]
    call.__signature__ = inspect.Signature([itself, *places, *named])  # type: ignore[attr-defined]
    cls.__call__ = call
    cls.takes_too = tuple(name for name in first if name not in by_name)
