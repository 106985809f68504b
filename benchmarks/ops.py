"""Time, bytes moved and share of a copy's bandwidth, per operation and shape.

    python -m benchmarks.ops [--device cpu|cuda] [--dtype float32|bfloat16|...] [--threads N] [--seconds S] [--json FILE]

Bytes are those that must move: every input and output of the operation once. The copy is `clone()` of the largest
tensor: like an operation, it allocates what it returns. Copy and operation are timed in alternation, and the fastest of
each counts, so that other load on the machine falls on neither side alone.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.digits_judge import cpu_name
from cuda_ops import backend_info, ops, setup_filter, use_backend
from cuda_ops.activation_table import ACTIVATIONS
from gan_lt.memory_reuse import keep_freed_memory

SHAPES = {
    "cpu": [(32, 128, 32, 32), (32, 128, 16, 16), (32, 3, 32, 32)],
    "cuda": [(32, 128, 256, 256), (32, 128, 64, 64), (32, 512, 32, 32), (32, 3, 256, 256)],
}
SCALE = (ACTIVATIONS["lrelu"].index, 0.2, math.sqrt(2), math.inf)


@dataclass(frozen=True)
class Row:
    """One measurement; `share` is of the bandwidth of a copy of the same tensor."""

    operation: str
    shape: tuple[int, ...]
    layout: str
    dtype: str
    milliseconds: float
    megabytes: float
    gigabytes_per_second: float
    copy_gigabytes_per_second: float
    share: float


def operations(x: Tensor) -> Iterator[tuple[str, Callable[[], object], int]]:
    """(name, call, bytes) of every operation on an image batch."""
    n, c, h, w = x.shape
    device, size = x.device, x.nbytes
    f = setup_filter([1, 3, 3, 1]).to(device)
    b, demod = torch.randn(c, device=device), torch.rand(n, c, device=device) + 0.5
    noise, strength = torch.randn(n, 1, h, w, device=device), torch.tensor(0.3, device=device)
    dy = torch.randn_like(x)
    tanh = (ACTIVATIONS["tanh"].index, *SCALE[1:])

    def forward(act: str) -> Callable[[], object]:
        return lambda: ops.bias_act(x, b, 1, ACTIVATIONS[act].index, *SCALE[1:])

    small = x[:, :, : h // 2, : w // 2].clone(memory_format=torch.preserve_format)
    small = small.contiguous(
        memory_format=torch.channels_last if not x.is_contiguous() else torch.contiguous_format
    )
    yield "bias_act lrelu", lambda: ops.bias_act(x, b, 1, *SCALE), 2 * size
    yield "bias_act lrelu, gradient", lambda: ops.bias_act_grad(dy, x, b, None, 1, *SCALE, True), 3 * size
    for act in ("tanh", "sigmoid", "elu", "softplus", "swish"):
        yield f"bias_act {act}", forward(act), 2 * size
    yield "bias_act tanh, gradient", lambda: ops.bias_act_grad(dy, x, b, None, 1, *tanh, False), 3 * size
    yield (
        "bias_act tanh, second",
        lambda: ops.bias_act_grad2(dy, dy, x, b, None, 1, *tanh),
        4 * size,  # dy and ddx are one tensor here
    )
    parameters = (demod, noise, strength, b)
    yield (
        "modulated_epilogue",
        lambda: ops.modulated_epilogue(x, *parameters, *SCALE),
        2 * size + noise.nbytes,
    )
    yield (
        "modulated_epilogue, gradient",
        lambda: ops.modulated_epilogue_grad(dy, x, *parameters, *SCALE),
        3 * size + noise.nbytes,
    )
    yield "upfirdn2d 4x4", lambda: ops.upfirdn2d(x, f, 1, 1, 1, 1, 2, 1, 2, 1, False, 1.0), 2 * size
    yield (
        "upfirdn2d 4x4 up 2",
        lambda: ops.upfirdn2d(small, f, 2, 2, 1, 1, 2, 1, 2, 1, False, 4.0),
        5 * small.nbytes,
    )
    yield (
        "upfirdn2d 4x4 down 2",
        lambda: ops.upfirdn2d(x, f, 1, 1, 2, 2, 1, 1, 1, 1, False, 1.0),
        size + size // 4,
    )


def seconds_of(call: Callable[[], object], device: str) -> float:
    """One call's time; on CUDA by events."""
    if device == "cpu":
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def measure(
    call: Callable[[], object], copy: Callable[[], object], device: str, budget: float
) -> tuple[float, float]:
    """The fastest call and the fastest copy, alternating for `budget` seconds."""
    for _ in range(3):
        call()
        copy()
    calls: list[float] = []
    copies: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < budget or len(calls) < 5:
        calls.append(seconds_of(call, device))
        copies.append(seconds_of(copy, device))
    return min(calls), min(copies)


def rows(device: str, dtype: torch.dtype, budget: float) -> Iterator[Row]:
    """Measure everything."""
    for shape in SHAPES[device]:
        for layout in ("channels_last", "contiguous"):
            x = torch.randn(shape, device=device).to(dtype)
            if layout == "channels_last":
                x = x.contiguous(memory_format=torch.channels_last)
            for name, call, moved in operations(x):
                best, best_copy = measure(call, x.clone, device, budget)
                bandwidth, copy_bandwidth = moved / best / 1e9, 2 * x.nbytes / best_copy / 1e9
                share = bandwidth / copy_bandwidth
                yield Row(
                    *(name, shape, layout, str(dtype).removeprefix("torch.")),
                    *(best * 1e3, moved / 1e6, bandwidth, copy_bandwidth, share),
                )


def main() -> None:
    """Print the table; with --json also write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16", "float64"], default="float32")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--seconds", type=float, default=0.3, help="time for each row")
    parser.add_argument("--json", type=Path, help="also write the rows and the machine to this file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cpu":
        keep_freed_memory()  # as in training: both sides would otherwise be measured on the system's clearing of new pages
    with use_backend("native"):
        info = backend_info()
        entry = info[options.device]
        if not isinstance(entry, dict) or entry["reason"] is not None:
            parser.error(f"no native kernels on {options.device}: {entry}")
    machine = torch.cuda.get_device_name() if options.device == "cuda" else cpu_name()
    threads = torch.get_num_threads()
    print(f"{machine}, {threads} threads, torch {torch.__version__}; {entry['source']}")
    print(
        f"{'operation':30s} {'shape':>18s} {'layout':14s} {'ms':>8s} {'MB':>7s} {'GB/s':>7s} {'copy':>7s} {'share':>6s}"
    )
    measured = []
    for row in rows(options.device, getattr(torch, options.dtype), options.seconds):
        measured.append(row)
        shape = "x".join(map(str, row.shape))
        print(
            f"{row.operation:30s} {shape:>18s} {row.layout:14s} {row.milliseconds:8.3f} {row.megabytes:7.1f} "
            f"{row.gigabytes_per_second:7.1f} {row.copy_gigabytes_per_second:7.1f} {row.share:6.0%}",
            flush=True,
        )
    if options.json:
        report = {
            "machine": machine,
            "threads": threads,
            "torch": torch.__version__,
            "device": options.device,
        }
        options.json.write_text(
            json.dumps({**report, "rows": [asdict(row) for row in measured]}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
