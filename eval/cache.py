"""Features kept on disk under the hash of images, extractor and settings."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_lt.errors import InputError
from gan_lt.file_modes import make_ordinary

_CHUNK = 1 << 24


class FeatureCache:
    """A folder of `<key>.<crc32>.npy` files: the checksum is in the name, so writing and checking are one
    rename apart.

    Safe with several processes: a file appears whole or not at all, and two that compute the same features
    write the same bytes under the same name.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the feature cache {self.folder} can't be made ({error.strerror}); give another"
            ) from None

    @staticmethod
    def key(fingerprint: str, extractor: str, weights_hash: str, settings: Mapping[str, Any]) -> str:
        """Digest of everything that decides the features."""
        parts = [fingerprint, extractor, weights_hash, dict(settings)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:40]

    def load(self, key: str, rows: int) -> tuple[npt.NDArray[np.float32] | None, str | None]:
        """Features [rows, d], mapped read-only, or None; and a sentence if a corrupt file was removed."""
        for path in sorted(self.folder.glob(f"{key}.*.npy")):
            reason = _defect(path, rows)
            if reason is None:
                features: npt.NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
                return features, None
            path.unlink(missing_ok=True)
            return None, f"cached features {path} were corrupt ({reason}) and have been computed again"
        return None, None

    def scratch(self, rows: int, dim: int) -> tuple[np.memmap[Any, np.dtype[np.float32]], Path]:
        """A new mapped array [rows, dim] to fill, and the temporary file it lives in."""
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=".npy", dir=self.folder)
        os.close(handle)
        path = Path(name)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dim)), path

    def commit(self, key: str, partial: Path) -> npt.NDArray[np.float32]:
        """Give a filled scratch file its final name; returns it mapped read-only."""
        final = self.folder / f"{key}.{_checksum(partial):08x}.npy"
        make_ordinary(partial)  # mkstemp makes it private, and others may share the cache
        os.replace(partial, final)
        features: npt.NDArray[np.float32] = np.load(final, mmap_mode="r", allow_pickle=False)
        return features


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            value = zlib.crc32(piece, value)
    return value


def _defect(path: Path, rows: int) -> str | None:
    try:
        if f"{_checksum(path):08x}" != path.name.split(".")[-2]:
            return "its checksum differs"
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        return str(error)
    if features.ndim != 2 or len(features) != rows or features.dtype != np.float32:
        return f"it holds {features.dtype} {features.shape}, not {rows} rows of float32"
    return None
