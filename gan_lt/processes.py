"""One batch over several processes: who holds which rows, what is drawn for all of them, what is averaged over them.

Everything here does nothing in a single process. In a distributed run the batch is global: every process draws the
random numbers of the whole batch from the same state and keeps its own rows, so N processes follow the trajectory of
one, to rounding, and a checkpoint can be resumed with another number of them.

Which rows: minibatch standard deviation forms groups from strided rows (row i with i + M, i + 2M, ... of a batch of G*M),
so a process holds whole groups: columns r*M/N to (r+1)*M/N of the batch seen as [G, M].
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.distributed import distributed_c10d
from torch.distributed.rendezvous import rendezvous

from gan_lt.errors import InputError

_group_size: int | None = None


def launched_by_torchrun() -> bool:
    """Whether torchrun (or anything else that sets its variables) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ and "MASTER_ADDR" in os.environ


def restarts() -> int:
    """How often torchrun has started this process again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def join_processes(backend: str, timeout: timedelta) -> None:
    """`init_process_group` with the processes that torchrun started.

    torchrun's store outlives a restart and still holds the addresses of the processes before, so each attempt has
    names of its own in it.

    Raises:
        InputError: the variables that say which process this is are not numbers, or not those of one of the processes.
    """
    _check_launch()
    store, number, processes = next(rendezvous("env://", timeout=timeout))
    own = distributed_c10d.PrefixStore(f"attempt-{restarts()}", store)
    distributed.init_process_group(backend, store=own, rank=number, world_size=processes, timeout=timeout)


def _check_launch() -> None:
    """What job scripts get wrong would otherwise be a traceback, or waiting for processes that there are not."""
    names = ("RANK", "WORLD_SIZE", "MASTER_PORT", "LOCAL_RANK")
    values = {name: os.environ[name] for name in names if name in os.environ}
    known = all(value.isdecimal() for value in values.values()) and "MASTER_PORT" in values
    if not known or not int(values["RANK"]) < int(values["WORLD_SIZE"]):
        said = ", ".join(f"{name}={os.environ.get(name, '')!r}" for name in names)
        raise InputError(
            f"the environment says that this is one of several processes, but not which ({said}): start them with torchrun, "
            "or unset RANK"
        )


def world_size() -> int:
    """How many processes share the batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number, 0 to world_size() - 1."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def is_main() -> bool:
    """Whether this process is the one that talks and writes."""
    return rank() == 0


def keep_groups_of(size: int | None) -> None:
    """Split batches so that strided groups of `size` rows stay in one process. None or 1: contiguous rows."""
    global _group_size
    _group_size = size


def own_rows(total: int) -> NDArray[np.int64]:
    """Rows of a batch of `total` that this process holds, int64 [total / world_size()].

    Raises:
        InputError: the batch can't be divided by the number of processes.
    """
    processes = world_size()
    if total % processes:
        raise InputError(
            f"a batch of {total} images can't be divided among {processes} processes; pass --batch N with a multiple"
        )
    rows = np.arange(total, dtype=np.int64)
    group = _group_size or 1
    if group > 1 and total % group == 0 and (total // group) % processes == 0:
        columns = total // group // processes
        first = rank() * columns
        return rows.reshape(group, -1)[:, first : first + columns].reshape(-1)
    mine = total // processes
    return rows[rank() * mine : (rank() + 1) * mine]


def draw_rows(draw: Callable[[int], Tensor], n: int) -> Tensor:
    """This process's n rows of what `draw(rows of the whole batch)` gives, rows first.

    Every process draws for all, from the same state, so that the numbers do not depend on how many there are.
    """
    if world_size() == 1:
        return draw(n)
    total = n * world_size()
    drawn = draw(total)
    return drawn[torch.from_numpy(own_rows(total)).to(drawn.device)]


def take_rows(x: Tensor) -> Tensor:
    """This process's rows of a tensor of the whole batch."""
    if world_size() == 1:
        return x
    return x[torch.from_numpy(own_rows(len(x))).to(x.device)]


def gather_rows(x: Tensor) -> Tensor:
    """The whole batch [n * world_size(), ...] in its order from every process's rows [n, ...].

    Differentiable: where gradients are averaged over the processes afterwards (`average_gradients`), the average is the
    gradient of the mean of the processes' losses.
    """
    if world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered


def mean_over_processes(x: Tensor) -> Tensor:
    """The mean over the processes of tensors of one shape. Differentiable, as `gather_rows` is."""
    if world_size() == 1:
        return x
    mean: Tensor = _Mean.apply(x)  # type: ignore[no-untyped-call]
    return mean


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
        distributed.all_gather(parts, x.contiguous())
        whole = torch.cat(parts)
        return whole[_back_in_order(len(whole)).to(x.device)]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return take_rows(total)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # d mean / d x is 1 / N of every process's gradient, and the later average over processes divides by N once more
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / world_size()


def _back_in_order(total: int) -> Tensor:
    """Where each row of the batch is in the processes' rows, one process after another."""
    columns = _group_size or 1
    processes = world_size()
    if columns > 1 and total % columns == 0 and (total // columns) % processes == 0:
        each = total // columns // processes
        held = np.arange(total).reshape(columns, processes, each).transpose(1, 0, 2).reshape(-1)
        return torch.from_numpy(np.argsort(held))
    return torch.arange(total)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one reduction."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    distributed.all_reduce(flat)
    flat /= world_size()
    offset = 0
    for gradient in gradients:
        # reshape walks logical order on both sides, so the memory layout (channels_last) doesn't matter
        gradient.copy_(flat[offset : offset + gradient.numel()].reshape(gradient.shape))
        offset += gradient.numel()


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if world_size() == 1:
        return flag
    value = torch.tensor([int(flag)])
    distributed.all_reduce(value, op=distributed.ReduceOp.MAX, group=_host_group())
    return bool(value.item())


def text_from_main(text: str) -> str:
    """The text that process 0 has."""
    if world_size() == 1:
        return text
    encoded = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
    length = torch.tensor([len(encoded)])
    distributed.broadcast(length, src=0, group=_host_group())
    received = encoded if is_main() else torch.empty(int(length), dtype=torch.uint8)
    distributed.broadcast(received, src=0, group=_host_group())
    return bytes(received.tolist()).decode() if not is_main() else text


def wait_for_all() -> None:
    """Wait until every process is here, however long one of them samples or measures."""
    any_process(False)


_hosts: Any = None


def _host_group() -> Any:
    """A group for small messages between hosts: on GPUs the default one would wait for the device."""
    global _hosts
    if _hosts is None:
        _hosts = distributed.new_group(backend="gloo", timeout=timedelta(days=1))
    return _hosts
