"""`gan-lt doctor`: which kernels run here and how fast, and what ails a run."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from cuda_ops import backend_info, bias_act, conv3x3, modulated_epilogue, setup_filter, upfirdn2d, use_backend
from gan_lt.command_line import CommandParser
from gan_lt.models.precision import compute_dtype


def doctor_parser(prog: str = "gan-lt doctor") -> argparse.ArgumentParser:
    """The options of `gan-lt doctor`."""
    parser = CommandParser(
        prog=prog, description="Print which kernels run here, and if not, why not; or what ails a run."
    )
    parser.add_argument(
        "run", metavar="RUN", nargs="?", type=Path, help="a run's folder: reads its stats.jsonl"
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser


def doctor_command(arguments: Sequence[str], prog: str = "gan-lt doctor") -> int:
    """Print the kernels' state and timings, or with RUN the findings about a run; status 1 if that has an illness."""
    args = doctor_parser(prog).parse_args(arguments)
    if args.run is not None:
        return _examine(args.run, args.json)
    info = backend_info()
    timings = time_operations()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    precision = {
        name: "fp32" if compute_dtype("auto", torch.device(name)) is None else "bf16" for name in devices
    }
    if args.json:
        print(json.dumps({**info, "precision": precision, "milliseconds": timings}, indent=2))
        return 0
    console = Console(soft_wrap=True)
    for name in ("torch", "cuda_version", "compiler", "nvcc"):
        console.print(f"{name:<13} {info[name] or 'none'}", highlight=False)
    for device in ("cpu", "cuda"):
        entry: Any = info[device]
        console.print(
            f"{device:<13} {entry['backend']}: {entry['reason'] or entry['source']}", highlight=False
        )
    chosen = ", ".join(f"{dtype} on {name}" for name, dtype in precision.items())
    console.print(f"{'precision':<13} auto is {chosen}", highlight=False)
    table = Table("operation", "device", "kernel", "forward", "with gradient", "reference forward", box=None)
    for row in timings:
        figures = [f"{row[key]:.2f} ms" if row[key] is not None else "-" for key in _FIGURES]
        table.add_row(row["operation"], row["device"], row["kernel"], *figures)
    console.print(table)
    return 0


_FIGURES = ("forward", "with_gradient", "reference_forward")
_SHAPE = (32, 64, 32, 32)


def time_operations(repeats: int = 5) -> list[dict[str, Any]]:
    """Milliseconds (median) of one call of each operation on 32 images of 64 channels at 32x32, on every device."""
    info = backend_info()
    rows: list[dict[str, Any]] = []
    for device in ["cpu"] + (["cuda"] if torch.cuda.is_available() else []):
        entry: Any = info[device]
        x = torch.randn(_SHAPE, device=device).contiguous(memory_format=torch.channels_last)
        x.requires_grad_(True)
        for name, call in _operations(x).items():
            row: dict[str, Any] = {"operation": name, "device": device, "kernel": entry["backend"]}
            row["forward"] = _median(partial(call, x.detach()), device, repeats)
            row["with_gradient"] = _median(partial(_both_ways, call, x), device, repeats)
            row["reference_forward"] = None
            if entry["backend"] == "native":
                with use_backend("reference"):
                    row["reference_forward"] = _median(partial(call, x.detach()), device, repeats)
            rows.append(row)
    return rows


def _operations(x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    bias = torch.zeros(x.shape[1], device=x.device)
    taps = setup_filter([1, 3, 3, 1]).to(x.device)
    scale = torch.ones(x.shape[:2], device=x.device)
    operations: dict[str, Callable[[Tensor], Tensor]] = {
        "bias_act": lambda x: bias_act(x, bias, act="lrelu"),
        "upfirdn2d up 2": lambda x: upfirdn2d(x, taps, up=2, padding=(2, 1, 2, 1), gain=4),
        "upfirdn2d down 2": lambda x: upfirdn2d(x, taps, down=2, padding=1),
        "modulated_epilogue": lambda x: modulated_epilogue(x, scale, None, bias, act="lrelu"),
    }
    if x.device.type == "cpu":  # elsewhere it is PyTorch's
        weight = torch.randn(x.shape[1], x.shape[1], 3, 3)
        operations["conv3x3"] = lambda x: conv3x3(x, weight)
    return operations


def _both_ways(call: Callable[[Tensor], Tensor], x: Tensor) -> None:
    call(x).sum().backward()  # type: ignore[no-untyped-call]


def _median(call: Callable[[], object], device: str, repeats: int) -> float:
    seconds = []
    for index in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        if index:  # the first call compiles, allocates, warms caches
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1000


def _examine(run: Path, as_json: bool) -> int:
    from gan_lt.training.diagnosis import examine

    findings = examine(run)
    if as_json:
        print(json.dumps([finding.__dict__ for finding in findings], indent=2))
    elif not findings:
        print(f"{run}: nothing unusual in its statistics")
    else:
        for finding in findings:
            print(f"{finding.illness}: {finding.seen}\n  {finding.remedy}")
    return 1 if findings else 0
