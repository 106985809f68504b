"""Images a second in training and sampling, ours and StyleGAN2-ADA's on the same machine.

    python -m benchmarks.step [--peer DIR] [--usual] [--precision auto|fp32|bf16] [--compile] [--threads N] [--scaling]
                              [--json FILE]

DIR is a clone of stylegan2-ada-pytorch. Both networks have the same size (32x32, 128 channels, z and w of 512, two
mapping layers), batch, optimizer, logistic loss and R1 every 16 steps; a round is 16 steps, so lazy terms are
amortised. Ours and the peer's rounds alternate, and the median round of each counts. --scaling adds batches of 8 to 128 and
sizes of 32 to 128. --usual adds our own networks computed the usual way (benchmarks/usual_way.py), for where no clone is. The
peer's networks are called by their public interface and trained by the loss written here: its own
training loop needs a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.digits_judge import cpu_name
from benchmarks.usual_way import compute_the_usual_way
from cuda_ops import use_backend
from gan_lt.config import TrainConfig, build_config
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.memory_reuse import StepMemory
from gan_lt.models.precision import compute_dtype, set_compute_dtype
from gan_lt.training.loop import training_step
from gan_lt.training.monitor import Averages
from gan_lt.training.state import TrainingState

CLASSES, Z_DIM, W_DIM, CHANNELS, MAPPING_LAYERS, STEPS = 10, 512, 512, 128, 2, 16
R1_GAMMA, LEARNING_RATE = 1.0, 0.0025


@dataclass(frozen=True)
class Side:
    """One contestant: train makes 16 steps, sample one batch."""

    train: Callable[[], object]
    sample: Callable[[], object]


def configuration(batch: int, resolution: int, precision: str) -> TrainConfig:
    """Our network and settings at a size."""
    settings = {
        "generator": {"z_dim": Z_DIM, "w_dim": W_DIM, "mapping_layers": MAPPING_LAYERS},
        "discriminator": {"mapping_layers": MAPPING_LAYERS},
        "loss": {"r1_gamma": R1_GAMMA, "penalty_interval": STEPS},
        "augment": {"name": "none"},
        "training": {"batch": batch, "precision": precision},
    }
    settings["generator"] |= {"channel_base": CHANNELS * resolution, "channel_max": CHANNELS}
    return build_config(
        "custom", {f"{s}.{k}": v for s, values in settings.items() for k, v in values.items()}
    )


def ours(batch: int, resolution: int, precision: str, device: torch.device, compiled: bool) -> Side:
    """The toolkit's own training step and its averaged generator."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (512, 3, resolution, resolution), dtype=np.uint8)
    images = ImageSet.from_arrays(pixels, np.arange(512) % CLASSES, [str(k) for k in range(CLASSES)])
    config = configuration(batch, resolution, precision)
    state, averages = TrainingState(config, images, device), Averages()
    set_compute_dtype(state.G_ema, compute_dtype(precision, device))
    G = torch.compile(state.G_ema) if compiled else state.G_ema
    y = torch.arange(batch, device=device) % CLASSES

    def train() -> None:
        for _ in range(STEPS):
            training_step(state, averages)

    @torch.inference_mode()
    def sample() -> Tensor:
        made: Tensor = G(torch.randn(batch, Z_DIM, device=device), y, noise_mode="const")
        return made

    return Side(train, sample)


def usual(batch: int, resolution: int, device: torch.device) -> Side:
    """The same step and generator computed as such code usually does, in float32."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (512, 3, resolution, resolution), dtype=np.uint8)
    images = ImageSet.from_arrays(pixels, np.arange(512) % CLASSES, [str(k) for k in range(CLASSES)])
    state, averages = TrainingState(configuration(batch, resolution, "fp32"), images, device), Averages()
    for network in (state.G, state.D, state.G_ema):
        compute_the_usual_way(network)
    y = torch.arange(batch, device=device) % CLASSES

    def train() -> None:
        with use_backend("reference"):
            for _ in range(STEPS):
                training_step(state, averages)

    @torch.inference_mode()
    def sample() -> Tensor:
        with use_backend("reference"):
            made: Tensor = state.G_ema(torch.randn(batch, Z_DIM, device=device), y, noise_mode="const")
        return made

    return Side(train, sample)


def peer(folder: Path, batch: int, resolution: int, device: torch.device) -> Side:
    """The networks of a stylegan2-ada-pytorch clone.

    Raises:
        InputError: not such a clone, or one that this PyTorch can't run.
    """
    if not (folder / "training" / "networks.py").is_file():
        raise InputError(
            f"--peer: {folder} has no training/networks.py; pass a clone of stylegan2-ada-pytorch"
        )
    sys.path.insert(0, str(folder))
    try:
        networks: Any = importlib.import_module("training.networks")
        shape = {"c_dim": CLASSES, "img_resolution": resolution, "img_channels": 3}
        layers = {"channel_base": CHANNELS * resolution, "channel_max": CHANNELS, "num_fp16_res": 0}
        mapping = {"num_layers": MAPPING_LAYERS}
        G = networks.Generator(
            z_dim=Z_DIM, w_dim=W_DIM, mapping_kwargs=mapping, synthesis_kwargs=layers, **shape
        ).to(device)
        D = networks.Discriminator(mapping_kwargs=mapping, **layers, **shape).to(device)
    except Exception as error:
        raise InputError(f"--peer: the networks of {folder} can't be built here ({error})") from error
    finally:
        sys.path.remove(str(folder))
    optimizers = {
        net: torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, betas=(0.0, 0.99)) for net in (G, D)
    }
    real = torch.rand(batch, 3, resolution, resolution, device=device) * 2 - 1
    c = F.one_hot(torch.arange(batch, device=device) % CLASSES, CLASSES).float()

    def step(net: Any, other: Any, loss: Callable[[], Tensor]) -> None:
        net.requires_grad_(True)
        other.requires_grad_(False)
        optimizers[net].zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        optimizers[net].step()

    def d_loss(with_r1: bool) -> Tensor:
        with torch.no_grad():
            fake = G(torch.randn(batch, Z_DIM, device=device), c)
        shown = real.detach().requires_grad_(with_r1)
        logits = D(shown, c)
        loss = F.softplus(D(fake, c)).mean() + F.softplus(-logits).mean()
        if with_r1:
            (gradient,) = torch.autograd.grad(logits.sum(), shown, create_graph=True)
            loss = loss + STEPS * R1_GAMMA / 2 * gradient.square().sum(dim=[1, 2, 3]).mean()
        return loss

    def g_loss() -> Tensor:
        return F.softplus(-D(G(torch.randn(batch, Z_DIM, device=device), c), c)).mean()

    def train() -> None:
        for index in range(STEPS):
            step(D, G, lambda first=index == 0: d_loss(first))  # type: ignore[misc]
            step(G, D, g_loss)

    @torch.no_grad()
    def sample() -> Tensor:
        made: Tensor = G(torch.randn(batch, Z_DIM, device=device), c, noise_mode="const")
        return made

    return Side(train, sample)


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, with all it started on the device."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compare(sides: dict[str, Side], batch: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """{side: {"train": img/s, "sample": img/s}}, rounds of all sides in alternation, the first of each not counted."""
    times: dict[str, dict[str, list[float]]] = {name: {"train": [], "sample": []} for name in sides}
    for index in range(rounds + 1):
        for name, side in sides.items():
            train = seconds_of(side.train, device)
            side.sample()  # the first sample after training finds other memory and caches
            sample = min(seconds_of(side.sample, device) for _ in range(5))
            if index:
                times[name]["train"].append(train / STEPS)
                times[name]["sample"].append(sample)
    return {
        name: {kind: batch / statistics.median(values) for kind, values in kinds.items()}
        for name, kinds in times.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.split("\n")[0])
    parser.add_argument("--peer", metavar="DIR", type=Path, help="a clone of stylegan2-ada-pytorch")
    parser.add_argument("--usual", action="store_true", help="also our networks computed the usual way")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--compile", action="store_true", help="sample through torch.compile")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="also batches 8 to 128 and sizes 32 to 128")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    if device.type == "cpu":
        StepMemory()  # for all sides; training also gives back what piles up
    dtype = compute_dtype(args.precision, device) or torch.float32
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    print(f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}, {dtype}")

    sides = {"ours": ours(args.batch, args.resolution, args.precision, device, args.compile)}
    if args.peer is not None:
        try:
            sides["peer"] = peer(args.peer, args.batch, args.resolution, device)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    if args.usual:
        sides["usual"] = usual(args.batch, args.resolution, device)
    found = compare(sides, args.batch, args.rounds, device)
    result: dict[str, Any] = {"ours": found["ours"], "peer": None, "ratio": None}
    for name, ratio in (("peer", "ratio"), ("usual", "ratio_to_usual")):
        if name in found:
            result[name] = found[name]
            result[ratio] = {kind: found["ours"][kind] / found[name][kind] for kind in ("train", "sample")}
    print(f"{args.resolution}x{args.resolution}, {CHANNELS} channels, batch {args.batch}")
    for name, values in result.items():
        if values is not None:
            unit = "x" if name.startswith("ratio") else "img/s"
            print(f"{name:<14} train {values['train']:8.1f} {unit:<6} sample {values['sample']:8.1f} {unit}")
    result |= {
        "machine": place,
        "threads": torch.get_num_threads(),
        "dtype": str(dtype),
        "torch": torch.__version__,
    }
    if args.scaling:
        result["scaling"] = []
        for resolution in (32, 64, 128):
            for batch in (8, 16, 32, 64, 128):
                side = {"ours": ours(batch, resolution, args.precision, device, args.compile)}
                speed = compare(side, batch, 1, device)["ours"]
                result["scaling"].append({"resolution": resolution, "batch": batch, **speed})
                print(
                    f"{resolution:>3}x{resolution:<3} batch {batch:>3}: train {speed['train']:8.1f} img/s, "
                    f"sample {speed['sample']:8.1f} img/s"
                )
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
