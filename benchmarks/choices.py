"""What the training step's choices are worth: each beside the usual way to do the same, in alternation.

    python -m benchmarks.choices [--batch 32] [--resolution 32] [--channels 128] [--rounds 9] [--threads N] [--json FILE]

Layers run forward and backward, in float32 and channels_last unless a choice is about that; both sides are checked to give
the same values first. Rows of bfloat16 are there where the CPU has instructions for it. Times
are medians over rounds; the gain is the median, over rounds, of the ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.digits_judge import cpu_name
from cuda_ops import conv3x3, library, modulated_epilogue, setup_filter, upfirdn2d
from gan_lt.models import Generator
from gan_lt.models.layers import resampling_conv2d
from gan_lt.training.ema import update_ema

_GAIN = math.sqrt(2)
Layer = Callable[..., Tensor]


@dataclass(frozen=True)
class Choice:
    """One call of what is done here, and one of the usual way."""

    name: str
    usual_way: str
    ours: Callable[[], object]
    usual: Callable[[], object]


def forward_and_backward(
    layer: Layer, *inputs: Tensor, contiguous: bool = False
) -> Callable[[], list[Tensor]]:
    """A call that gives the layer's output and the gradients of all inputs; the gradient coming in is fixed noise."""
    form = torch.contiguous_format if contiguous else torch.channels_last
    leaves = [
        (x.contiguous(memory_format=form) if x.ndim == 4 else x).detach().requires_grad_() for x in inputs
    ]
    with torch.no_grad():
        shape = layer(*leaves).shape
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=form)
    gradient = gradient.to(leaves[0].dtype)

    def call() -> list[Tensor]:
        out = layer(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, gradient)]

    return call


def shared_convolution(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
    """Modulation and demodulation on the activations, one convolution for all images."""
    demodulation = (style.square() @ weight.square().sum(dim=[2, 3]).t() + 1e-8).rsqrt()
    return F.conv2d(x * style[:, :, None, None], weight, padding=1) * demodulation[:, :, None, None]


def grouped_convolution(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
    """A weight for every image, all of them in one grouped convolution (Karras et al., CVPR 2020, section 2.2)."""
    own = weight[None] * style[:, None, :, None, None]
    own = own * (own.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    n, out, channels, height, width = *own.shape[:2], *x.shape[1:]
    y = F.conv2d(x.reshape(1, n * channels, height, width), own.flatten(0, 1), padding=1, groups=n)
    return y.reshape(n, out, height, width)


def fused_epilogue(noise: Tensor, x: Tensor, demodulation: Tensor, strength: Tensor, bias: Tensor) -> Tensor:
    """What follows a modulated convolution, in one pass."""
    return modulated_epilogue(
        x, demod=demodulation, noise=noise, strength=strength, bias=bias, gain=_GAIN, clamp=256.0
    )


def separate_epilogue(
    noise: Tensor, x: Tensor, demodulation: Tensor, strength: Tensor, bias: Tensor
) -> Tensor:
    """The same as five operations of PyTorch."""
    x = x * demodulation[:, :, None, None] + noise * strength + bias[:, None, None]
    return (F.leaky_relu(x, 0.2) * _GAIN).clamp(-256, 256)


def choices(batch: int, resolution: int, channels: int) -> Iterator[Choice]:
    """All of them, at a size; values of both sides agree (AssertionError otherwise)."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    x, small = (normal(batch, channels, size, size) for size in (resolution, resolution // 2))
    weight = normal(channels, channels, 3, 3) / math.sqrt(9 * channels)
    style = 1 + 0.1 * normal(batch, channels)
    noise, f = normal(batch, 1, resolution, resolution), setup_filter([1, 3, 3, 1])

    def layers(name: str, usual_way: str, ours: Layer, usual: Layer, *inputs: Tensor) -> Choice:
        sides = forward_and_backward(ours, *inputs), forward_and_backward(usual, *inputs)
        for a, b in zip(sides[0](), sides[1](), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))
        return Choice(name, usual_way, *sides)

    yield layers(
        "modulate activations",
        "a weight an image, grouped convolution",
        shared_convolution,
        grouped_convolution,
        x,
        weight,
        style,
    )
    yield Choice(
        "channels_last",
        "contiguous",
        forward_and_backward(shared_convolution, x, weight, style),
        forward_and_backward(shared_convolution, x, weight, style, contiguous=True),
    )
    yield layers(
        "fused epilogue",
        "operations of PyTorch one by one",
        partial(fused_epilogue, noise),
        partial(separate_epilogue, noise),
        x,
        style,
        torch.tensor(0.1),
        normal(channels),
    )
    yield layers(
        "3x3 convolution: Winograd's F(4x4, 3x3)",
        "PyTorch's convolution",
        conv3x3,
        lambda x, w: F.conv2d(x, w, padding=1),
        x,
        weight,
    )
    if library.bfloat16_convolutions():
        half = x.bfloat16(), weight.bfloat16()
        ours = forward_and_backward(conv3x3, *half)
        theirs = forward_and_backward(lambda x, w: F.conv2d(x, w, padding=1), *half)
        for a, b in zip(ours(), theirs(), strict=True):
            error = (a.float() - b.float()).square().mean() / b.float().square().mean()
            assert float(error) < 0.02**2  # noqa: S101  bfloat16 has 8 bits
        yield Choice("3x3 convolution in bfloat16", "PyTorch's convolution in bfloat16", ours, theirs)
        yield Choice(
            "3x3 convolution in bfloat16", "ours in float32", ours, forward_and_backward(conv3x3, x, weight)
        )
    yield layers(
        "up 2: transposed convolution, then filter",
        "filter at full size, then convolution",
        lambda x, w: resampling_conv2d(x, w, f, up=2, down=1, padding=1),
        lambda x, w: F.conv2d(upfirdn2d(x, f, up=2, padding=(3, 2, 3, 2), gain=4.0), w.flip(2, 3)),
        small,
        weight,
    )
    yield layers(
        "down 2: filter, then strided convolution",
        "convolution, then filter and every second",
        lambda x, w: resampling_conv2d(x, w, f, up=1, down=2, padding=1),
        lambda x, w: upfirdn2d(F.conv2d(x, w, padding=2), f, down=2),
        x,
        weight,
    )
    yield from over_parameters(channels, resolution)


def over_parameters(channels: int, resolution: int) -> Iterator[Choice]:
    """Optimiser and running average, over the generator's weights."""
    G = Generator(
        num_classes=10,
        resolution=resolution,
        img_channels=3,
        channel_base=channels * resolution,
        channel_max=channels,
        mapping_layers=2,
    )
    average = Generator(**G.config)
    steps: list[Callable[[], object]] = []
    for options in ({"fused": True}, {"foreach": False}):
        weights = [nn.Parameter(p.detach().clone()) for p in G.parameters()]
        for p in weights:
            p.grad = torch.ones_like(p)
        steps.append(torch.optim.Adam(weights, lr=1e-3, betas=(0.0, 0.99), **options).step)
    yield Choice("fused Adam", "Adam weight by weight", *steps)

    @torch.no_grad()
    def one_by_one() -> None:
        for target, source in zip(average.parameters(), G.parameters(), strict=True):
            target.copy_(source.lerp(target, 0.999))

    yield Choice(
        "running average in one call", "weight by weight", lambda: update_ema(average, G, 0.999), one_by_one
    )


def seconds_of(call: Callable[[], object], at_least: float) -> float:
    """Seconds a call, over as many calls as fill `at_least` seconds."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < at_least or calls == 0:
        call()
        calls += 1
    return spent / calls


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choices", description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="each time is a mean over so long (0.2)")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    print(
        f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}; batch {args.batch}, "
        f"{args.resolution}x{args.resolution}, {args.channels} channels"
    )
    rows = []
    for choice in choices(args.batch, args.resolution, args.channels):
        times = [
            (seconds_of(choice.ours, args.seconds), seconds_of(choice.usual, args.seconds))
            for _ in range(args.rounds + 1)
        ][1:]  # the first round allocates
        ratios = sorted(usual / ours for ours, usual in times)
        row = {
            "choice": choice.name,
            "instead_of": choice.usual_way,
            "ms": 1e3 * statistics.median(ours for ours, _ in times),
            "usual_ms": 1e3 * statistics.median(usual for _, usual in times),
            "gain": statistics.median(ratios),
            "gain_range": [ratios[0], ratios[-1]],
        }
        rows.append(row)
        print(
            f"{choice.name:<42} {row['ms']:8.2f} ms {row['usual_ms']:8.2f} ms {row['gain']:6.2f}x   {choice.usual_way}"
        )
    if args.json is not None:
        result = {
            "machine": cpu_name(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "batch": args.batch,
            "resolution": args.resolution,
            "channels": args.channels,
            "choices": rows,
        }
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
