"""Shards to test with, and how they are refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

Files = dict[str, bytes]
# a narrow blank (macOS, "Screenshot 1 PM"), a no-break and an ideographic one, a joined emoji, a mark of direction
LEGIBLE = (
    "Screenshot 1\u202fPM.png",
    "a\u00a0b.png",
    "\u3000a\u3000b.png",
    "\U0001f469\u200d\U0001f4bb.png",
    "\u200ea.png",
)


def png(seed: int, size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, files: Files | list[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as shard:
        for name, data in files.items() if isinstance(files, dict) else files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return path


def labelled(n: int, classes: int = 2, start: int = 0) -> Files:
    """Samples of an image and a class index each."""
    return {
        name: data
        for i in range(start, start + n)
        for name, data in ((f"{i:06d}.png", png(i)), (f"{i:06d}.cls", f"{i % classes}\n".encode()))
    }
