"""Several processes that make one set together, as torchrun starts them; one process is the same with one rank."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from gan_lt.errors import InputError
from gan_lt.processes import join_processes, launched_by_torchrun

# a rank may sample for hours while another, with less to do, waits for it
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """This process's place among `size`: rank 0 leads."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def device(self, name: str | None) -> torch.device:
        """The named device; where none is named, each local process takes a GPU of its own."""
        from gan_lt.training.device import choose_device

        if name is None and self.size > 1 and torch.cuda.is_available():
            local = int(os.environ.get("LOCAL_RANK", "0"))
            return choose_device(f"cuda:{local % torch.cuda.device_count()}")
        return choose_device(name)

    def barrier(self) -> None:
        """Wait until all have come here."""
        if self.size > 1:
            self.share(lambda: None)

    def share(self, value: Callable[[], Any]) -> Any:
        """What rank 0 computes (JSON values), on all ranks; an InputError there is raised on all."""
        if self.size == 1:
            return value()
        error: InputError | None = None
        message = b""
        if self.leads:
            try:
                message = json.dumps({"value": value()}).encode()
            except InputError as refused:
                error, message = refused, json.dumps({"error": str(refused)}).encode()
        length = torch.tensor([len(message)])
        dist.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if self.leads:
            content = torch.from_numpy(np.frombuffer(message, dtype=np.uint8).copy())
        dist.broadcast(content, 0)
        if error is not None:
            raise error
        document = json.loads(content.numpy().tobytes())
        if "error" in document:
            raise InputError(document["error"])
        return document["value"]


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """The ranks that torchrun started (gloo, on the CPU: only short messages pass between them), or the one there is."""
    if not launched_by_torchrun():
        yield Ranks()
        return
    join_processes("gloo", _PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
