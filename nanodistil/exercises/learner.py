"""A learner's file: its function, and how many lines of code it has. Run in the process that may crash."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

LARGEST = 1 << 20  # bytes of a file


class Unfit(Exception):
    """Why a file is no answer to an exercise, in words of ours."""


def function_in(path: Path, name: str) -> Callable[..., Any]:
    """Run the file, and give what it calls `name`. Raises what the file raises, Unfit if there is no such function.

    The file's folder comes last among those that are searched for modules, so a softmax.py beside it is no danger.
    """
    source = path.read_bytes()
    if len(source) > LARGEST:
        raise Unfit(f"it has {len(source):,} bytes, too many for an exercise")
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module  # where Numba and pickle look for it
    sys.path.append(str(path.parent))
    exec(compile(source, str(path), "exec"), vars(module))
    if name not in vars(module):
        raise Unfit(f"there is no function {name} in it")
    found = vars(module)[name]
    if not callable(found):
        raise Unfit(f"{name} in it is no function")
    return found  # type: ignore[no-any-return]


def lines_of_code(source: str) -> int:
    """Statements, as Python itself would write them: no comments, docstrings, nor what stands under `if __name__ ...`.

    >>> lines_of_code('import os  # y\\n\\ndef f():\\n    "Doc."\\n    return 1\\n\\nif __name__ == "x":\\n    f()\\n')
    3
    """
    tree = ast.parse(source)
    tree.body = [part for part in tree.body if not (isinstance(part, ast.If) and "__name__" in ast.dump(part.test))]
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return sum(bool(line.strip()) for line in ast.unparse(tree).splitlines())
