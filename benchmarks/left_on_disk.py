"""What a run or a set left on the disk, as bytes that can be compared with an undisturbed one's."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import zipfile
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

# a clock's reading and what follows from it
_NOT_COMPARED = ("time", "speed/images_per_second")


def contents_of_run(run: Path, *, stopped: bool = False) -> dict[str, bytes]:
    """What must not depend on how often a run was struck: networks, state, pictures, figures.

    stopped: it was asked to stop, which writes a checkpoint, a picture and a line of figures wherever it is. Then only
    the end is what an undisturbed run has: the networks, the last state and picture, and the ticks that were reached.
    """
    from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint

    pictures = sorted((run / "samples").iterdir())
    checkpoints = list_checkpoints(run / "checkpoints")
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    if stopped:
        pictures, checkpoints = pictures[-1:], checkpoints[-1:]
        figures: list[Any] = [line["kimg"] for line in lines if line["kimg"] == round(line["kimg"])]
    else:
        figures = [{k: v for k, v in line.items() if k not in _NOT_COMPARED} for line in lines]
    files = [*(run / "network").iterdir(), *pictures, run / "config.yaml"]
    found = {str(file.relative_to(run)): file.read_bytes() for file in files}
    found["stats.jsonl"] = json.dumps(figures).encode()
    for path in checkpoints:
        # the header's order is not fixed, what it says is
        _add_state(load_checkpoint(path), path.name, found)
    return found


def _add_state(node: Any, name: str, found: dict[str, bytes]) -> None:
    import torch

    if isinstance(node, torch.Tensor):
        found[name] = node.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(node, dict):
        for key, value in node.items():
            _add_state(value, f"{name}/{key}", found)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _add_state(value, f"{name}/{index}", found)
    else:
        found[name] = repr(node).encode()


def bytes_that_differ(a: dict[str, bytes], b: dict[str, bytes]) -> int:
    """Over all names; what one side lacks differs in every byte."""
    total = 0
    names: list[str] = []
    for name in sorted(a.keys() | b.keys()):
        one, other = a.get(name, b""), b.get(name, b"")
        if one != other:
            number = sum(x != y for x, y in zip_longest(one, other))
            total += number
            names.append(name)
    if names:
        print(f"{total} bytes differ in {', '.join(names[:10])} ({len(names)} in all)", file=sys.stderr)
    return total


def left_behind(folder: Path) -> list[Path]:
    """Temporary files; a run's lock is meant to stay."""
    return [path for path in folder.rglob(".*") if path.name != ".lock"]


def contents_of_set(out: Path) -> dict[str, bytes]:
    """Every file of a set, or the zip itself."""
    if out.is_file():
        return {"zip": out.read_bytes()}
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def lost_and_doubled(whole: Path, out: Path) -> tuple[int, int]:
    """Images that the undisturbed set has and this one lacks, and those that it has more often; by their bytes."""
    one, other = Counter(_images(whole)), Counter(_images(out))
    return sum((one - other).values()), sum((other - one).values())


def _images(out: Path) -> list[str]:
    images: list[bytes] = []
    if out.is_file():
        with zipfile.ZipFile(out) as archive:
            images = [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
    else:
        images = [file.read_bytes() for file in out.rglob("*.png")]
        for shard in out.glob("*.tar"):
            with tarfile.open(shard) as archive:
                members = [member for member in archive if member.name.endswith(".png")]
                images += [file.read() for member in members if (file := archive.extractfile(member))]
    return [hashlib.sha256(image).hexdigest() for image in images]
