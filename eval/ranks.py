"""Several processes of one evaluation, as torchrun starts them: the features are computed together, the rest by the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed

from gan_lt.processes import join_processes, launched_by_torchrun

_FOUND = 1


@dataclass(frozen=True)
class Ranks:
    """rank: this process, from 0; size: how many there are. One alone talks to nobody."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def told(self, flag: bool) -> bool:
        """The first process's flag, on all of them."""
        if self.size == 1:
            return flag
        sent = torch.tensor([_FOUND if flag else 0])
        distributed.broadcast(sent, src=0)
        return int(sent) == _FOUND

    def send(self, rows: npt.NDArray[np.float32]) -> None:
        """Give rows [n, d] to the first process."""
        distributed.send(torch.tensor(rows.shape), dst=0)
        distributed.send(torch.from_numpy(np.ascontiguousarray(rows)), dst=0)

    def receive(self, rank: int) -> npt.NDArray[np.float32]:
        """What `rank` sends, [n, d]."""
        shape = torch.zeros(2, dtype=torch.int64)
        distributed.recv(shape, src=rank)
        rows = torch.empty(shape.tolist())
        distributed.recv(rows, src=rank)
        received: npt.NDArray[np.float32] = rows.numpy()
        return received


@contextmanager
def ranks_of_torchrun() -> Iterator[Ranks]:
    """The processes that torchrun started, joined over gloo; this one alone without torchrun."""
    if not launched_by_torchrun():
        yield Ranks()
        return
    join_processes("gloo", timedelta(hours=12))
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
