"""torch.export programs of a generator: PyTorch without gan_lt."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from gan_lt.errors import InputError
from gan_lt.interop.exported_graphs import (
    TOLERANCE,
    capture,
    description,
    detached_copy,
    example_inputs,
    reference_output,
    relative_difference,
)
from gan_lt.models import Generator


def export_program(generator: Generator, path: str | os.PathLike[str]) -> Path:
    """Write the generator as a torch.export program (.pt2) from (z, y, psi) to images; returns the file.

    Inputs and output as the joined graph of `export_onnx`. `torch.export.load(path).module()(z, y, psi)` runs it where
    gan_lt is not installed. PyTorch reads parts of a .pt2 with pickle, so load one only from someone whose code you would
    run; safetensors and ONNX files do not have this weakness. The configuration is the extra file "gan_lt.json". The program is
    run and compared with the generator before it is written.

    Raises:
        InputError: `path` does not end in .pt2 or can't be written, no StyleGAN2 Generator, or the program computes
            something else.
    """
    target = Path(path)
    if target.suffix != ".pt2":
        raise InputError(f"{target}: must end in .pt2")
    network = detached_copy(generator)
    program = capture(network, "joined")
    inputs = example_inputs(network, "joined", batch=3, seed=1)
    with torch.no_grad():
        images = program.module()(*inputs)
    if (difference := relative_difference(images, reference_output(network, "joined", inputs))) > TOLERANCE:
        raise InputError(
            f"{target}: the program computes images that differ by {difference:.1e} of their range from the generator's; "
            f"try another version of PyTorch, or --format onnx"
        )
    # torch.export.save insists on the suffix
    unfinished = target.with_name(f".{target.stem}.{os.getpid()}.pt2")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.export.save(program, unfinished, extra_files={"gan_lt.json": description(network)})
        os.replace(unfinished, target)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{target}: can't be written ({reason}); name another file") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return target


__all__ = ["export_program"]
