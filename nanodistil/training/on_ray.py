"""Training on the machines of a Ray cluster (extra: "nanodistil[ray]"): the same mathematics as under mpirun.

    from nanodistil.training.distill import Options, distill
    from nanodistil.training.on_ray import run

    run(distill, Options(...), workers=4, cpus=8, restarts=2)

Ray Train starts the workers, wherever there is room, and starts all of them again if one dies; the run then goes on
from its last checkpoint, so its folder must be one that all machines see. An array to be summed goes to a place where
all workers meet, is added up in the order of their ranks, and comes back: so two workers make the bits of two ranks
under MPI, which also adds two numbers, and of more than two the sum is the same in every run.

That place is one process, through which every gradient goes: right for a few workers, too narrow for dozens, for which
there is mpirun, or a GPU each and NCCL.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from nanodistil.backend import Array
from nanodistil.weights.errors import InputError, MissingExtraError, NanoDistilError, excerpt


class Meeting:
    """Where all workers bring an array and each takes the sum away; an actor of Ray's, of which a run has one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.brought: dict[int, dict[int, Array]] = {}  # number of the sum -> rank -> array
        self.sums: dict[int, asyncio.Future[Array]] = {}

    async def sum(self, number: int, rank: int, array: Array) -> Array:
        """The sum of what all bring to the sum of this number, in the order of their ranks."""
        brought = self.brought.setdefault(number, {})
        found = self.sums.setdefault(number, asyncio.get_running_loop().create_future())
        brought[rank] = array
        if len(brought) == self.size:
            whole = brought[0].copy()
            for other in range(1, self.size):
                whole += brought[other]
            del self.brought[number], self.sums[number]  # who still waits holds the future
            found.set_result(whole)
        return await found


class Workers:
    """The workers that Ray Train started; see communicator.Communicator.

    meet: what `Meeting.sum` is, of one meeting for all.
    """

    def __init__(self, rank: int, size: int, meet: Callable[[int, int, Array], Array]) -> None:
        self.rank, self.size, self._meet = rank, size, meet
        self._number = 0

    def placed(self, backend: str | None) -> str | None:
        """As it is: of several GPUs Ray shows a worker its own alone."""
        return backend

    def all_reduce_sum(self, array: Array) -> None:
        """In place, on the host or a GPU: every worker gets the sum of all."""
        self._put(array, self._meet(self._next(), self.rank, self._host(array)))

    def broadcast(self, array: Array) -> None:
        """In place: every worker gets what rank 0 has, to which the others add nothing."""
        mine = self._host(array)
        self._put(array, self._meet(self._next(), self.rank, mine if self.rank == 0 else np.full_like(mine, -0.0)))

    def barrier(self) -> None:
        """Nobody goes on before all are here."""
        self._meet(self._next(), self.rank, np.zeros(1))

    def _next(self) -> int:
        self._number += 1
        return self._number

    @staticmethod
    def _host(array: Any) -> Array:
        found: Array = array if isinstance(array, np.ndarray) else array.get()
        return found

    @staticmethod
    def _put(array: Any, found: Array) -> None:
        if isinstance(array, np.ndarray):
            array[...] = found
        else:
            array.set(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def run(
    train: Callable[..., Any], *arguments: Any, workers: int, cpus: int = 1, gpu: bool = False, restarts: int = 0
) -> None:
    """train(*arguments) on so many workers of `cpus` processors each, and a GPU, from where its folder stands.

    train: distill or finetune of this package; of Options, `gradient_accumulation_steps` must be at least `workers`.
    restarts: how often to begin again when a worker dies. Raises MissingExtraError, InputError, and what `train` raises
    on a worker; Ray's TrainingFailedError if one died once too often.
    """
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    except ImportError as error:
        raise MissingExtraError(f'Ray Train is needed ({error}): pip install "nanodistil[ray]"') from None
    for name, value, least in (("workers", workers, 1), ("cpus", cpus, 1), ("restarts", restarts, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, not {excerpt(value)}")
    if not ray.is_initialized():
        ray.init()
    resources = {"CPU": cpus, **({"GPU": 1} if gpu else {})}
    trainer = DataParallelTrainer(
        _work,
        train_loop_config={"train": train, "arguments": arguments, "cpus": cpus},
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker=resources, use_gpu=gpu),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=restarts)),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise _ours(error) or error from None


def _work(config: dict[str, Any]) -> None:
    """On a worker."""
    import ray
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    os.environ["OMP_NUM_THREADS"] = str(config["cpus"])  # before the first kernel asks
    rank, size = get_context().get_world_rank(), get_context().get_world_size()
    place = ray.remote(num_cpus=0)(Meeting).remote(size) if rank == 0 else None  # goes when rank 0 goes
    place = broadcast_from_rank_zero(place)
    everyone = Workers(rank, size, lambda *brought: ray.get(place.sum.remote(*brought)))
    config["train"](*config["arguments"], resume=True, communicator=everyone)
    everyone.barrier()  # rank 0 writes the last file


def _ours(error: BaseException | None) -> NanoDistilError | None:
    """The error of ours that is behind one of Ray's."""
    behind = [
        *getattr(error, "worker_failures", {}).values(),
        getattr(error, "cause", None),
        getattr(error, "__cause__", None),
    ]
    for one in behind:
        if isinstance(one, NanoDistilError):
            return one if type(one).__module__.startswith("nanodistil.") else InputError(str(one))
        if isinstance(one, BaseException) and (found := _ours(one)):
            return found
    return None
