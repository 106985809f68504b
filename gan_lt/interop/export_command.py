"""`gan-lt export RUN --format onnx --out FILE`: a generator for other runtimes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gan_lt.command_line import CommandParser

_FORMATS = {"onnx": ".onnx", "torch": ".pt2"}


def export_parser(prog: str = "gan-lt export") -> argparse.ArgumentParser:
    """The options of the export."""
    parser = CommandParser(
        prog=prog, description="Write a generator for other runtimes; see docs/interop.md."
    )
    parser.add_argument("network", metavar="RUN|DIR", type=Path, help="a run, or a saved generator's folder")
    parser.add_argument(
        "--format",
        choices=tuple(_FORMATS),
        default="onnx",
        help="onnx: FILE and its two halves beside it; torch: a torch.export program (onnx)",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="ending in .onnx or .pt2; its folder is made"
    )
    return parser


def export_command(arguments: Sequence[str], prog: str = "gan-lt export") -> int:
    """Export, check, and say which files there are.

    Raises:
        InputError: no network there, and as `export_onnx` and `export_program`.
    """
    args = export_parser(prog).parse_args(arguments)
    from gan_lt.sampling.loading import load_generator

    generator, _ = load_generator(args.network)
    if args.format == "torch":
        from gan_lt.interop.exported_graphs import graph_inputs
        from gan_lt.interop.program_export import export_program

        file = export_program(generator, args.out)
        print(f"{file}: {', '.join(graph_inputs(generator, 'joined'))} -> images")
        return 0
    from gan_lt.interop.onnx_export import export_onnx, onnx_difference

    for part, file in export_onnx(generator, args.out).items():
        difference = onnx_difference(generator, part, file)
        checked = (
            "not checked, onnxruntime is not installed"
            if difference is None
            else f"onnxruntime differs from PyTorch by {difference:.1e}"
        )
        print(f"{file}: {part}, {file.stat().st_size / 2**20:,.1f} MiB; {checked}")
    return 0


__all__ = ["export_command", "export_parser"]
