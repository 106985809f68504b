"""Which device to run on."""

from __future__ import annotations

import torch

from gan_lt.errors import InputError
from gan_lt.training.distributed import local_rank


def choose_device(name: str | None) -> torch.device:
    """The named device, or CUDA where there is one, else the CPU.

    Raises:
        InputError: a name torch doesn't know, or a CUDA device that isn't there.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device: {name!r} is not a device; pass cpu, cuda or cuda:N") from error
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local_rank())  # each process of a machine has its own
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device: {device} is not there ({torch.cuda.device_count()} CUDA devices found); pass cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"--device: {name} is not supported; pass cpu, cuda or cuda:N")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
