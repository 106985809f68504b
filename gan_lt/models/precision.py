"""In which precision the convolutions of a network run."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from gan_lt.errors import InputError

Precision = Literal["auto", "fp32", "bf16"]


def compute_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype of activations, None for that of the weights.

    Weights, demodulation, statistics, logits and losses are float32 in any case.

    precision: "fp32", "bf16", or "auto": bfloat16 where the device has instructions that multiply it faster (CPUs with AMX or
    AVX-512 BF16, GPUs from Ampere on), float32 elsewhere, where it would be slower.

    Raises:
        InputError: another precision.
    """
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    if precision != "auto":
        raise InputError(f"precision {precision!r} is not known; choose from auto, fp32, bf16")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else None
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if device.type == "cpu" and fast else None


def set_compute_dtype(network: nn.Module, dtype: torch.dtype | None) -> None:
    """Have the network's image layers compute in `dtype`. A backbone that has no such choice stays as it is."""
    for module in network.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = dtype  # type: ignore[assignment]


def precision_of(network: nn.Module) -> Literal["fp32", "bf16"]:
    """In which precision the network's image layers compute now."""
    chosen = {getattr(module, "compute_dtype", None) for module in network.modules()}
    return "bf16" if torch.bfloat16 in chosen else "fp32"


__all__ = ["Precision", "compute_dtype", "precision_of", "set_compute_dtype"]
