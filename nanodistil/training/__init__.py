"""Training: the backward pass beside the forward one, losses, the optimiser, and the runs made of them.

`nanodistil.training.finetune(task, model, train, out, ...)` trains from Python (in_memory.py); the file of that name,
finetune.py, is what it and the command line come down to.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanodistil.training.in_memory import finetune as finetune


def __getattr__(name: str) -> Any:
    if name == "finetune":
        return import_module("nanodistil.training.finetune")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
