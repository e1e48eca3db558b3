"""The training loop: the same for distilling a student and for fine-tuning one.

A step is: gradients of several micro-batches, added up; over all processes, if there are several; clipped; AdamW; lay
the new weights out for the next. The loop knows no loss. It is handed

    step(batch, key, scale)   works through one micro-batch: adds scale times the gradients to the trainee's, and tells
                              the terms of its loss (not scaled) and how many tokens it saw
    epoch(number)             the micro-batches of an epoch, in order; each epoch has as many

and what is random in a step (order, masks, dropout) comes from the seed, the epoch's number and `key`, a number of
64 bits that is a function of the seed, the step and the micro-batch. So nothing has to be remembered but the weights,
the two moments and how many steps are done (and the loss's scale, in float16), and a run that was killed goes on as if
it had not been (run.py).

A step may reach over into the next epoch: every micro-batch counts once, and the last step divides by what is left for
it. Or, as in transformers' Trainer and so in fine-tuning, an epoch ends with a step on what is left (Plan.each). A
step's loss is the mean of its micro-batches' losses, however few. (Upstream's train.py adds what is left of an epoch to
the next one's first step, which has then more gradients than it is divided by.)

A loss that is not a number ends the run before the weights are touched. Ctrl-C and SIGTERM save a checkpoint; the step
that was being worked on is done again on resuming. In float16, a step whose gradients overflow is done again with a
smaller loss (loss_scale.py).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from nanodistil.training.checkpoint import Checkpoint
from nanodistil.training.communicator import Communicator, Single
from nanodistil.training.interruption import Interruption
from nanodistil.training.loss_scale import LossScale
from nanodistil.training.optimizer import AdamW, Flat, clipping
from nanodistil.training.run import Run
from nanodistil.weights.errors import InputError


class Worked(NamedTuple):
    """What became of a micro-batch."""

    terms: tuple[float, ...]  # of the loss, in the order of Plan.terms
    tokens: int


Step = Callable[[Any, int, float], Worked]  # batch, key, scale


class Trainee(Flat, Protocol):
    """What the loop needs of training/trainee.py."""

    def zero_gradients(self) -> None: ...
    def refresh(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """How long, how fast, and how often to tell.

    batches: micro-batches in the whole run. rate: step, from 0 -> learning rate. terms: the names of the loss's terms,
    the first is the whole. checkpoint_interval: steps; checkpoint_minutes: also when so many have gone by since.
    each: micro-batches of an epoch, if an epoch is to end with a step on what is left of it; None: a step may reach
    over into the next one.
    """

    batches: int
    rate: Callable[[int], float]
    accumulation: int = 1
    max_grad_norm: float = 0.0
    seed: int = 0
    terms: tuple[str, ...] = ("loss",)
    log_interval: int = 500
    checkpoint_interval: int = 4000
    checkpoint_minutes: float = 15.0
    each: int | None = None

    @property
    def stretch(self) -> int:
        """The micro-batches that no step reaches out of: those of an epoch, or of the whole run."""
        return self.each or max(1, self.batches)

    @property
    def steps(self) -> int:
        """Of the optimiser."""
        whole, rest = divmod(self.batches, self.stretch)
        return whole * math.ceil(self.stretch / self.accumulation) + math.ceil(rest / self.accumulation)

    def micro(self, step: int) -> range:
        """The micro-batches of a step, from 0, counted through the whole run.

        >>> plan = Plan(batches=6, rate=lambda step: 0.1, accumulation=2)
        >>> [list(plan.micro(step)) for step in range(plan.steps)]
        [[0, 1], [2, 3], [4, 5]]
        >>> plan = Plan(batches=6, rate=lambda step: 0.1, accumulation=2, each=3)
        >>> [list(plan.micro(step)) for step in range(plan.steps)]
        [[0, 1], [2], [3, 4], [5]]
        """
        epoch, place = divmod(step, math.ceil(self.stretch / self.accumulation))
        first, end = epoch * self.stretch, (epoch + 1) * self.stretch
        start = first + place * self.accumulation
        return range(start, min(start + self.accumulation, end, self.batches))


class Stepped(NamedTuple):
    """One step, for a progress line."""

    done: int  # steps
    steps: int
    loss: dict[str, float]
    lr: float
    tokens: int
    seconds: float


class Stopped(KeyboardInterrupt):
    """The user or the system asked the run to stop, and it is saved; the message says how to go on."""


def key_of(seed: int, step: int, micro: int) -> int:
    """64 bits for one micro-batch of one step, unlike those of any other.

    >>> key_of(56, 0, 0), key_of(56, 0, 1)
    (1525778827836482892, 11447977189097564646)
    """
    numbers = f"{seed} {step} {micro}".encode()
    return int.from_bytes(hashlib.blake2b(numbers, digest_size=8).digest(), "little")


class Epochs:
    """The micro-batches of a run one after the other; an epoch is made when its first is asked for."""

    def __init__(self, epoch: Callable[[int], Sequence[Any]]) -> None:
        self._epoch, self._number, self._batches = epoch, 0, epoch(0)
        self.each = len(self._batches)
        if not self.each:
            raise InputError("there is no data to train on")

    def __getitem__(self, number: int) -> Any:
        epoch, place = divmod(number, self.each)
        if epoch != self._number:
            self._number, self._batches = epoch, self._epoch(epoch)
            if len(self._batches) != self.each:
                raise InputError(f"epoch {epoch} has {len(self._batches)} batches, epoch 0 had {self.each}")
        return self._batches[place]


def train(
    trainee: Trainee,
    optimizer: AdamW,
    step: Step,
    epoch: Callable[[int], Sequence[Any]],
    plan: Plan,
    run: Run,
    *,
    dtype: str = "float32",
    communicator: Communicator | None = None,
    on_step: Callable[[Stepped], None] | None = None,
    on_log: Callable[[Mapping[str, Any]], None] | None = None,
    on_epoch: Callable[[int], Mapping[str, Any] | None] | None = None,
) -> None:
    """Train from where the run stands to its end; the trainee then holds the result.

    dtype: of the linear maps; in float16 the loss is scaled.
    on_step, on_log and on_epoch are called on rank 0 only: after every step, with every line of the log, and after the
    step that ends an epoch (from 0; what it gives becomes a line of the log).

    Raises InputError if the loss or the gradients are no numbers any more, memory does not suffice, or fewer
    micro-batches than processes make a step; Stopped (a KeyboardInterrupt) if the user or the system asked to stop,
    after saving.
    """
    everyone = communicator or Single()
    first = everyone.rank == 0
    if plan.accumulation < everyone.size:
        raise InputError(f"{everyone.size} processes need at least as many batches a step, not {plan.accumulation}")
    data = Epochs(epoch)
    everyone.barrier()
    meter, scale = Meter(plan.terms), LossScale(dtype)
    done = saved = restore(run.begin(), trainee, optimizer, meter, scale)
    if everyone.size > 1:
        for array in (trainee.flat, optimizer.m, optimizer.v):
            everyone.broadcast(array)
    trainee.refresh()
    began = last = time.monotonic()
    with Interruption() as interruption:
        while done < plan.steps:
            # ---- gradients of this process's share of the micro-batches, then of all
            micro = plan.micro(done)
            trainee.zero_gradients()
            sums = np.zeros(len(plan.terms) + 2)  # the terms, tokens, and how many want to stop
            for number in micro[everyone.rank :: everyone.size]:
                if interruption.asked:
                    break
                key = key_of(plan.seed, done, number - micro.start)
                try:
                    worked = step(data[number], key, scale.value / len(micro))
                except MemoryError as error:
                    raise InputError(
                        f"step {done + 1}: out of memory ({str(error) or 'of the host'}); less is needed with "
                        "--gradient-checkpointing, or a smaller --batch-size and more --gradient-accumulation-steps; "
                        f"the last checkpoint is of step {saved}"
                    ) from error
                sums[:-1] += (*(term / len(micro) for term in worked.terms), worked.tokens)
            sums[-1] = interruption.asked
            everyone.all_reduce_sum(sums)
            if sums[-1]:
                save(run, trainee, optimizer, meter, scale, done)
                raise Stopped(f"stopped after {done} of {plan.steps} steps; the same command with --resume goes on")
            if everyone.size > 1:
                everyone.all_reduce_sum(trainee.flat_gradients)
            # ---- the step
            lr, norm = plan.rate(done), optimizer.gradient_norm() / scale.value
            loss = dict(zip(plan.terms, sums.tolist(), strict=False))
            if math.isfinite(loss[plan.terms[0]]) and not math.isfinite(norm) and scale.lower():
                continue
            if not math.isfinite(loss[plan.terms[0]]) or not math.isfinite(norm):
                raise InputError(
                    f"step {done + 1}: the loss is {loss[plan.terms[0]]} and the gradients' norm {norm}, so nothing "
                    f"more can be learned; the last checkpoint is of step {saved}; try a lower learning rate"
                    + (", or bfloat16" if dtype == "float16" else "")
                )
            optimizer.step(done + 1, lr, clipping(norm, plan.max_grad_norm) / scale.value)
            trainee.refresh()
            scale.went_well()
            # ---- what is told and kept of it
            done += 1
            now = time.monotonic()
            meter.add(loss, norm, int(sums[-2]), now - last)
            last = now
            if first and on_step:
                on_step(Stepped(done, plan.steps, loss, lr, int(sums[-2]), meter.seconds))
            ended = range(micro.start // data.each, micro.stop // data.each)  # epochs
            if done % plan.log_interval == 0 or ended or done == plan.steps:
                line = {"step": done, "epoch": micro.stop / data.each, "lr": lr, **meter.line()}
                if ended:
                    line["ended"] = ended[-1]
                run.log(line)
                if first and on_log:
                    on_log(line)
            for number in ended:
                meter.begin_epoch()
                if first and on_epoch and (found := on_epoch(number)):
                    run.log({"step": done, "epoch": micro.stop / data.each, **found})
            minutes = (now - began) / 60
            if done % plan.checkpoint_interval == 0 or done == plan.steps or minutes > plan.checkpoint_minutes:
                save(run, trainee, optimizer, meter, scale, done)
                saved, began = done, time.monotonic()


class Meter:
    """Means over the steps of a log interval, and of the loss over those of an epoch.

    What it has summed is part of a checkpoint, so the log of a run that goes on is the one it would have had.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        self.whole, self.means = terms[0], (*terms, "grad_norm")
        self.sums = dict.fromkeys(
            (*self.means, "steps", "tokens", "interval", "epoch_loss", "epoch_steps", "seconds"), 0.0
        )

    @property
    def seconds(self) -> float:
        """Since the run began, pauses not counted."""
        return self.sums["seconds"]

    def add(self, loss: Mapping[str, float], norm: float, tokens: int, seconds: float) -> None:
        """One more step."""
        more = {"steps": 1, "tokens": tokens, "interval": seconds, "epoch_loss": loss[self.whole], "epoch_steps": 1}
        for name, value in {**loss, **more, "grad_norm": norm, "seconds": seconds}.items():
            self.sums[name] += value

    def line(self) -> dict[str, float]:
        """What there is to tell; a new interval begins."""
        sums = self.sums
        line = {name: sums[name] / sums["steps"] for name in self.means}
        line["epoch_loss"] = sums["epoch_loss"] / sums["epoch_steps"]
        line["tokens_per_second"] = round(sums["tokens"] / max(sums["interval"], 1e-9), 1)
        line["seconds"] = round(sums["seconds"], 3)
        sums |= dict.fromkeys((*self.means, "steps", "tokens", "interval"), 0.0)
        return line

    def begin_epoch(self) -> None:
        """The epoch's mean begins anew."""
        self.sums |= {"epoch_loss": 0.0, "epoch_steps": 0.0}


def restore(found: Checkpoint | None, trainee: Trainee, optimizer: AdamW, meter: Meter, scale: LossScale) -> int:
    """Take over a checkpoint; how many steps were done. Raises InputError if it is of another model."""
    if found is None:
        return 0
    if found.flat.shape != trainee.flat.shape:
        raise InputError(f"the checkpoint holds {found.flat.size} weights, the model {trainee.flat.size}: not its run")
    send = trainee.ops.send
    trainee.flat[:], optimizer.m[:], optimizer.v[:] = send(found.flat), send(found.m), send(found.v)
    meter.sums = {name: found.meter[name] for name in meter.sums}
    scale.restore(found.meter)
    return found.step


def save(run: Run, trainee: Trainee, optimizer: AdamW, meter: Meter, scale: LossScale, step: int) -> None:
    """Write a checkpoint, on rank 0."""
    flat, m, v = map(trainee.ops.fetch, (trainee.flat, optimizer.m, optimizer.v))
    run.keep(Checkpoint(step, run.digest, meter.sums | scale.state(), flat, m, v))
