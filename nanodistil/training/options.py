"""What every run has in common: options of how a step is made and what computes it, and who goes along with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.training.communicator import Communicator
    from nanodistil.training.loop import Stepped
    from nanodistil.training.run import Run
    from nanodistil.training.trainee import Trainee


class Course(TypedDict, total=False):
    """How a run is gone about, which changes nothing of its result.

    resume, force: as Run. communicator: of several processes. on_step: called after every step. watch: given the
    trainee and the run, it gives what is called with every line of the log.
    """

    resume: bool
    force: bool
    communicator: Communicator | None
    on_step: Callable[[Stepped], None] | None
    watch: Callable[[Trainee, Run], Callable[[Mapping[str, Any]], None]] | None


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


def begun(course: Course) -> dict[str, bool]:
    """What Run wants to know of it."""
    return {name: bool(course.get(name)) for name in ("resume", "force")}
