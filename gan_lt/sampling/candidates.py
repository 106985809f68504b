"""Sampled candidates on disk, judged: made once, also when a run is stopped, and read by every process."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan_lt.sampling.images import CHUNK
from gan_lt.sampling.unfinished import write_whole

_STREAM = 2**40  # candidates that a stream can have


@dataclass(frozen=True)
class Candidates:
    """images uint8 [n, C, H, W]; labels int64 [n]; scores float32 [n], high is good; copies bool [n]: of training images."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    copies: NDArray[np.bool_]


class CandidateStore:
    """Candidates in blocks of CHUNK: their pixels in one file, what was found out about them in another."""

    def __init__(self, work: Path) -> None:
        self._root = work / "candidates"
        self._root.mkdir(exist_ok=True)

    def has(self, stream: int, block: int) -> bool:
        """Whether the block is saved, whole: after a power loss a name may be there without its bytes."""
        if not self._path(stream, block, "npz").is_file():
            return False
        try:
            self.load(stream, block)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return False
        return True

    def save(self, stream: int, block: int, candidates: Candidates) -> None:
        pixels, facts = io.BytesIO(), io.BytesIO()
        np.save(pixels, candidates.images, allow_pickle=False)
        write_whole(self._path(stream, block, "npy"), pixels.getvalue())
        np.savez(facts, labels=candidates.labels, scores=candidates.scores, copies=candidates.copies)
        # last: a block is there when this file is
        write_whole(self._path(stream, block, "npz"), facts.getvalue())

    def load(self, stream: int, block: int) -> Candidates:
        images = np.load(self._path(stream, block, "npy"), allow_pickle=False)
        with np.load(self._path(stream, block, "npz"), allow_pickle=False) as facts:
            return Candidates(images, facts["labels"], facts["scores"], facts["copies"])

    @staticmethod
    def source(stream: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """One number for a candidate, int64 [n], by which `pixels` finds it."""
        return stream * _STREAM + indices

    def pixels(self, sources: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [n, C, H, W] of the candidates with these numbers."""
        blocks = sources // CHUNK
        found: NDArray[np.uint8] | None = None
        for block in np.unique(blocks).tolist():
            rows = np.flatnonzero(blocks == block)
            stream, number = divmod(block, _STREAM // CHUNK)
            stored = np.load(self._path(stream, number, "npy"), mmap_mode="r", allow_pickle=False)
            if found is None:
                found = np.empty((len(sources), *stored.shape[1:]), dtype=np.uint8)
            found[rows] = stored[sources[rows] % CHUNK]
        if found is None:
            raise ValueError("no candidates were asked for")
        return found

    def _path(self, stream: int, block: int, suffix: str) -> Path:
        return self._root / f"{stream:06d}-{block:09d}.{suffix}"
