"""What the options of every run have in common: how a step is made, what computes it, and which numbers can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nanodistil.weights.errors import InputError


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Named as transformers' and upstream's flags; what they are preset to a verb says, or nobody.

    max_steps: of the optimiser, instead of epochs. batch_size: of a micro-batch. max_grad_norm: longer gradients are
    shortened to it; 0: never. Raises InputError, by the flag's name, for what cannot be.
    """

    max_steps: int | None = None
    batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool = False
    learning_rate: float
    weight_decay: float = 0.0
    adam_epsilon: float
    max_grad_norm: float
    backend: str | None = None
    dtype: str | None = None
    threads: int | None = None
    seed: int

    LOWEST: ClassVar[Mapping[str, float]]  # of a verb's own
    POSITIVE: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        for name, lowest in {**OF_EVERY_RUN, **self.LOWEST}.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value < float("inf"):  # a NaN is not either
                raise InputError(f"--{name.replace('_', '-')} must be at least {lowest}, not {value}")
        for name in ("learning_rate", "adam_epsilon", *self.POSITIVE):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"--{name.replace('_', '-')} must be above 0, not {getattr(self, name)}")


OF_EVERY_RUN = {
    "max_steps": 1, "batch_size": 1, "gradient_accumulation_steps": 1, "weight_decay": 0, "max_grad_norm": 0,
    "threads": 1, "seed": 0,
}  # fmt: skip
