"""Batches of real images for training: indices from a sampler, pixels from an image set, mirrored or not."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gan_lt.data.image_set import ImageSet
from gan_lt.data.samplers import ClassSampler, uniform_numbers
from gan_lt.errors import InputError

_FLIP_STREAM = 3
_DYING_SECONDS = 10.0


@dataclass(frozen=True)
class _Plan:
    """A batch before its pixels are there, and the state of the loader once it was handed out."""

    indices: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    state_after: dict[str, Any]


class BatchLoader:
    """An infinite iterator over ``(images uint8 [B, C, H, W], labels int64 [B])``.

    A set in memory is indexed as one tensor; any other is decoded by ``num_workers`` processes that work
    ahead, or in the caller's own threads with 0 of them. What comes does not depend on the number of workers,
    and with P processes of a distributed run, process r gets images r*B to (r+1)*B of a batch of P*B, or its `rows`.

    Args:
        image_set: where the pixels come from.
        sampler: which images, in which order. The loader advances it; don't draw from it elsewhere.
        batch_size: B, images of this process.
        horizontal_flips: mirror each image with probability 1/2.
        seed: of the flips, 0 or more.
        num_workers: processes that decode; not used for a set in memory.
        device: where the batches are wanted. A set in memory is kept there whole.
        rank: r, this process's number in a distributed run.
        world_size: P, the number of processes.
        rows: [B], which images of a batch of P*B this process gets; None: the r-th stretch of B.

    Raises:
        InputError: a batch size, a number of workers, a rank or rows that are not possible.
    """

    def __init__(
        self,
        image_set: ImageSet,
        sampler: ClassSampler,
        batch_size: int,
        *,
        horizontal_flips: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch size {batch_size} is not possible: it must be 1 or more")
        if num_workers < 0:
            raise InputError(f"{num_workers} loader workers are not possible: the number must be 0 or more")
        if not 0 <= rank < world_size:
            raise InputError(f"rank {rank} is not possible with {world_size} processes")
        self.image_set = image_set
        self.sampler = sampler
        self.batch_size = batch_size
        self.horizontal_flips = horizontal_flips
        self.seed = seed
        self.num_workers = num_workers
        self.device = torch.device(device)
        self.rank, self.world_size = rank, world_size
        self._rows = np.arange(rank * batch_size, (rank + 1) * batch_size) if rows is None else rows
        if (
            len(self._rows) != batch_size
            or not 0 <= min(self._rows) <= max(self._rows) < batch_size * world_size
        ):
            raise InputError(
                f"rows {self._rows.tolist()!s:.80} are not {batch_size} of a batch of {batch_size * world_size}"
            )
        self._drawn = 0
        self._state: dict[str, Any] | None = None  # of the last batch handed out, where workers are ahead
        self._planned: deque[_Plan] = deque()
        self._stream: Iterator[Tensor] | None = None
        self._workers: list[BaseProcess] = []
        self._labels = torch.from_numpy(image_set.labels).to(self.device)
        self._resident: Tensor | None = None
        if image_set.is_in_memory:
            self._resident = torch.from_numpy(image_set.images()).to(self.device)

    def __iter__(self) -> BatchLoader:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        if self._resident is not None:
            plan = self._plan()
            index = torch.from_numpy(plan.indices).to(self.device, non_blocking=True)
            return self._mirror(self._resident[index], plan.mirrored), self._labels[index]
        if self._stream is None:
            self._stream = self._open_stream()
        try:
            images = next(self._stream)
        except InputError:
            self.close()
            raise
        except (ConnectionError, EOFError) as error:
            if not self._workers:
                raise
            # the same as DataLoader's own error of a worker that was killed, noticed a moment earlier
            self._reap_killed()
            raise RuntimeError("a DataLoader worker was killed") from error
        plan = self._planned.popleft()
        self._state = plan.state_after
        index = torch.from_numpy(plan.indices).to(self.device, non_blocking=True)
        return self._mirror(images.to(self.device, non_blocking=True), plan.mirrored), self._labels[index]

    def state_dict(self) -> dict[str, Any]:
        """Plain integers and texts from which ``load_state_dict`` goes on exactly after the last batch."""
        return self._state if self._state is not None else self._state_now()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken; the batch size and number of processes may be others.

        Raises:
            InputError: the state belongs to another sampler or another seed of flips.
        """
        if state.get("seed") != self.seed:
            raise InputError(f"loader state has seed {state.get('seed')!r}, this loader has {self.seed}")
        self.close()
        self.sampler.load_state_dict(state["sampler"])
        self._drawn = int(state["drawn"])
        self._state = None

    def close(self) -> None:
        """Stop the workers. The next batch starts them again, where the last one handed out ended."""
        self._stream = None
        if self._planned:
            self._planned.clear()
            if self._state is not None:
                self.sampler.load_state_dict(self._state["sampler"])
                self._drawn = self._state["drawn"]

    def _reap_killed(self) -> None:
        """Wait for the end of the worker that is dying.

        DataLoader's handler of SIGCHLD raises while it finds a killed worker that nobody waited for. It may do so here, but
        not later, in the middle of whatever follows.
        """
        ended = wait_for_any([worker.sentinel for worker in self._workers], timeout=_DYING_SECONDS)
        for worker in self._workers:
            if worker.sentinel in ended:
                worker.join(_DYING_SECONDS)

    def _state_now(self) -> dict[str, Any]:
        return {"seed": self.seed, "drawn": self._drawn, "sampler": self.sampler.state_dict()}

    def _plan(self, *, with_state: bool = False) -> _Plan:
        total = self.batch_size * self.world_size
        indices = self.sampler.next_indices(total)[self._rows]
        mirrored = np.zeros(self.batch_size, dtype=bool)
        if self.horizontal_flips:
            mirrored = uniform_numbers(self.seed, _FLIP_STREAM, self._drawn, total)[self._rows] < 0.5
        self._drawn += total
        return _Plan(indices, mirrored, self._state_now() if with_state else {})

    def _mirror(self, images: Tensor, mirrored: NDArray[np.bool_]) -> Tensor:
        if not self.horizontal_flips:
            return images
        mask = torch.from_numpy(mirrored).to(images.device, non_blocking=True)
        return torch.where(mask[:, None, None, None], images.flip(3), images)

    def _plans(self) -> Iterator[NDArray[np.int64]]:
        while True:
            plan = self._plan(with_state=True)
            self._planned.append(plan)
            yield plan.indices

    def _open_stream(self) -> Iterator[Tensor]:
        self._state = self._state_now()
        if self.num_workers == 0:
            for indices in self._plans():
                yield torch.from_numpy(self.image_set.images(indices))
        loader: DataLoader[Tensor | str] = DataLoader(
            _Decoding(self.image_set),
            sampler=self._plans(),
            batch_size=None,  # an item of the data set is a batch already
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # its seed must not come from the random numbers of training
        )
        others = set(multiprocessing.active_children())
        stream = iter(loader)
        self._workers = [child for child in multiprocessing.active_children() if child not in others]
        for images in stream:
            if isinstance(images, str):
                raise InputError(images)
            yield images


class _Decoding(Dataset[Tensor | str]):
    """Decodes whole batches in a worker. Bad input comes back as its message: DataLoader wraps errors."""

    def __init__(self, image_set: ImageSet) -> None:
        self.image_set = image_set

    def __getitem__(self, indices: NDArray[np.int64]) -> Tensor | str:
        try:
            images = torch.from_numpy(self.image_set.images(indices, threads=1))
        except InputError as error:
            return str(error)
        try:
            # here and not where DataLoader would do it, in a thread whose errors leave everybody waiting
            shared: Tensor = images.share_memory_()  # type: ignore[no-untyped-call]
            return shared
        except RuntimeError as error:
            return (
                f"data.workers: no shared memory for a batch of {images.nbytes / 2**20:.1f} MiB ({error}); give the machine "
                "more (containers: --shm-size=1g), or set data.workers=0"
            )
