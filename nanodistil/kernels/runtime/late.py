"""Numba, imported at the first compilation and not before.

Importing Numba takes 0.2 s, a third of a short command, and a machine that has its kernels compiled needs none of it:
linking.py loads them without. So nothing of Numba is touched while modules are imported. `types`, `cgutils` and the
others are modules that are imported when first asked for something; and what `intrinsic`, `overload` and jit.py's
decorators are told is told to Numba once a kernel that uses it is compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import Any

from . import target


class _Module:
    """A module that is imported when it is first asked for something."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


numba, types = _Module("numba"), _Module("numba.core.types")
cgutils, extending = _Module("numba.core.cgutils"), _Module("numba.extending")

_overloads: list[Callable[[], Any]] = []  # of which Numba has not been told yet


def tell_numba() -> None:
    """Whatever modules imported until now have to say. Called before anything is compiled."""
    while _overloads:
        _overloads.pop(0)()


class Late:
    """A function, and what Numba takes it for: `make` of it, asked for when a kernel that names it is compiled."""

    def __init__(self, function: Callable[..., Any], make: Callable[..., Any], **inside: Any) -> None:
        functools.update_wrapper(self, function)
        self.py_func, self._make, self._inside = function, make, inside

    @cached_property
    def compiled(self) -> Any:
        """What Numba made of it, for Python to call."""
        tell_numba()
        return self._make(self.py_func)

    @cached_property
    def inside(self) -> Any:
        """What Numba made of it, for other compiled code; `make` is told so by the arguments `inside`."""
        tell_numba()
        return self._make(self.py_func, **self._inside)

    @cached_property
    def _numba_type_(self) -> Any:
        """Numba asks for this name wherever it meets a value that it does not know."""
        typing = import_module("numba.core.registry").cpu_target.typing_context
        inside = self.inside
        typing.refresh()
        return typing.resolve_value_type(inside)

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments) if target.INTERPRETED else self.compiled(*arguments)


def intrinsic(function: Callable[..., Any]) -> Late:
    """numba.extending.intrinsic."""
    return Late(function, lambda function: extending.intrinsic(function))


def overload(definition: Callable[..., Any], **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """numba.extending.overload: what compiled code takes in the place of `definition`."""

    def decorate(made: Callable[..., Any]) -> Callable[..., Any]:
        _overloads.append(lambda: extending.overload(definition, **options)(made))
        return made

    return decorate
