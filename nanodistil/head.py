"""What a head is: a task's few arrays on top of the encoder, and everything that is said of them, in one value.

A head has one file in heads/, which says which arrays it has, how it goes forward and back, what the way back needs
kept, which dropout falls where, which loss belongs to it, and how it is called; and one line in the table
heads/__init__.py. Nothing else names it: files are checked, weights laid out, models trained and saved by what the
value says.

`Learner` is what the loss of a head may ask of whoever trains it (training/trainee.py): the forward pass does not know
of training, and does not have to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from nanodistil.backend import Array, BackwardOps, Ops
from nanodistil.config import Config
from nanodistil.model import Look, Packed
from nanodistil.taps import Tap
from nanodistil.weights.errors import InputError
from nanodistil.weights.layout import Weights
from nanodistil.weights.names import HEAD_MODULES, TIED

Batch = Mapping[str, Any]  # input_ids, attention_mask, position_ids, and the labels
Forward = Callable[[Array, Weights, Ops, Tap], Array]
Rate = tuple[str, Callable[[Config], float]]  # a name of tap's, and how much falls there


class HeadRun(NamedTuple):
    """Hidden states after the head, and the way back."""

    logits: Array  # (rows, V or C or 2)
    x: Array  # (rows, D) what the head's first map was given
    seen: dict[str, Array]  # by name, what the head says is kept
    dropout: Callable[[str, Array], Array]  # of this pass; its own derivative, since it only multiplies


class Learner(Protocol):
    """A model that learns, as the loss of a head sees it."""

    model: Any
    ops: Ops
    bops: BackwardOps

    @property
    def config(self) -> Config: ...

    def encode(self, batch: Packed, look: Look | None = None, key: int | None = None) -> Any: ...
    def encode_backward(self, dx: Array, run: Any) -> Array: ...
    def apply_head(self, x: Array, key: int | None = None) -> HeadRun: ...
    def head_backward(self, dlogits: Array, run: HeadRun) -> Array: ...


Objective = Callable[..., float]  # (learner, batch, *, key=None, scale=1.0) -> the loss; gradients are added on the way
Backward = Callable[[Array, HeadRun, Weights, Weights, Ops, BackwardOps], Array]


def _nothing(*_: Any, **__: Any) -> Any:
    raise InputError("this model has no head to apply; load it with the head of a task")


@dataclass(frozen=True)
class Head:
    """All that is said of a head."""

    name: str
    arrays: dict[str, str] = field(default_factory=dict)  # canonical name -> shape, in the letters of weights/names.py
    tied: dict[str, str] = field(default_factory=dict)  # arrays of its own only in a model that does not tie words
    bare: bool = False  # whether it is none: the encoder alone
    optional: bool = False  # whether a file may lack it, and then the model does without
    coarse: bool = False  # whether its maps are rounded as the body's are: the head of a causal model is half of it
    activated: bool = False  # whether it applies the config's activation, which may have learned numbers
    activation: str = ""  # or one of its own
    forward: Forward = _nothing  # (rows, D) -> logits
    backward: Backward = _nothing  # the gradient of logits -> (rows, D)
    kept: tuple[str, ...] = ()  # names of tap's that `backward` asks for
    dropout: tuple[Rate, ...] = ()
    objective: Objective = _nothing

    def __post_init__(self) -> None:
        HEAD_MODULES.update(name.partition(".")[0] for name in (*self.arrays, *self.tied))
        TIED.update(self.tied)


BASE = Head("base", bare=True)
