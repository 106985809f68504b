"""ONNX files of a generator, checked against PyTorch in onnxruntime."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from gan_lt.errors import InputError
from gan_lt.interop.exported_graphs import (
    PARTS,
    TOLERANCE,
    capture,
    description,
    detached_copy,
    example_inputs,
    graph_inputs,
    reference_output,
    relative_difference,
)
from gan_lt.models import Generator

OPSET = 18
_OUTPUT = {"joined": "images", "mapping": "ws", "synthesis": "images"}


def export_onnx(
    generator: Generator, path: str | os.PathLike[str], parts: Sequence[str] = PARTS
) -> dict[str, Path]:
    """Write the generator as ONNX: `path` from (z, y, psi) to images, and beside it the two halves.

    | part | file | inputs | output |
    | --- | --- | --- | --- |
    | joined | NAME.onnx | z [n, z_dim], y int64 [n], psi [] | images [n, C, H, W] |
    | mapping | NAME.mapping.onnx | z, y, psi | ws [n, num_ws, w_dim] |
    | synthesis | NAME.synthesis.onnx | ws | images |

    An unconditional generator has no y. psi is the truncation (1: none), the noise is the constant one, n is free, all but y
    is float32. Class names and sizes stand as JSON in the metadata entry "gan_lt". Where onnxruntime is installed, every
    file is run with it and compared with PyTorch before it gets its name.

    Returns:
        part to file.

    Raises:
        InputError: onnx or onnxscript is not installed, `path` does not end in .onnx or can't be written, an unknown part,
            no StyleGAN2 Generator, or onnxruntime computes something else.
    """
    target = Path(path)
    if target.suffix != ".onnx":
        raise InputError(f"{target}: must end in .onnx")
    for part in parts:
        if part not in PARTS:
            raise InputError(f"part={part!r} must be one of {', '.join(PARTS)}")
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"{target}: ONNX export needs {package}: pip install gan-lt[onnx]")
    network = detached_copy(generator)
    files = {p: target if p == "joined" else target.with_suffix(f".{p}.onnx") for p in parts}
    unfinished = {p: file.with_name(f".{file.name}.{os.getpid()}") for p, file in files.items()}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for part, file in unfinished.items():
            _write(network, part, file)
            if (difference := onnx_difference(network, part, file)) is not None and difference > TOLERANCE:
                raise InputError(
                    f"{files[part]}: onnxruntime computes images that differ by {difference:.1e} of their range from "
                    f"PyTorch's; try another version of onnxruntime"
                )
        for part, file in unfinished.items():
            os.replace(file, files[part])
    except OSError as error:
        raise InputError(f"{target}: can't be written ({error.strerror}); name another file") from error
    finally:
        for file in unfinished.values():
            file.unlink(missing_ok=True)
    return files


def onnx_difference(generator: Generator, part: str, file: Path) -> float | None:
    """Largest difference between onnxruntime and PyTorch over 3 images, relative to max(1, largest value).

    None where onnxruntime is not installed. generator: on the CPU, in evaluation mode.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    inputs = example_inputs(generator, part, batch=3, seed=1)
    expected = reference_output(generator, part, inputs)
    names = graph_inputs(generator, part)
    (found,) = session.run(None, {n: t.numpy() for n, t in zip(names, inputs, strict=True)})
    return relative_difference(torch.from_numpy(found), expected)


def _write(generator: Generator, part: str, file: Path) -> None:
    with _quiet():
        program = torch.onnx.export(
            capture(generator, part),
            (),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=graph_inputs(generator, part),
            output_names=[_OUTPUT[part]],
            external_data=False,
        )
        if program is None:
            raise InputError(f"{file}: torch.onnx.export gave no graph")
        program.model.metadata_props["gan_lt"] = description(generator)
        program.save(str(file), external_data=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its steps on standard output, with warnings on its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


__all__ = ["export_onnx", "onnx_difference"]
