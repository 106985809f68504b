"""What a synthetic set's manifest.json tells the evaluation: real counts, copied images, classes not asked for."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_lt.class_names import composed
from gan_lt.data.archive import UNREADABLE
from gan_lt.data.shard_paths import shard_paths
from gan_lt.errors import InputError


@dataclass(frozen=True)
class Manifest:
    """real: real images a class, by name, of those classes whose entry has them. not_asked: classes that no image was
    to be made of, as the largest one of a top-up. copied: files that are copies of real images (`--copy-real`).
    """

    real: Mapping[str, int]
    not_asked: tuple[str, ...]
    copied: frozenset[str]


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of a set in a folder or a zip, or beside shards; None where there is none, or it is of another kind.

    Raises InputError for one that can't be read.
    """
    text = _text(path)
    if text is None:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"manifest.json of {path} can't be read ({error}); write the synthetic set again"
        ) from None
    classes = document.get("classes") if isinstance(document, dict) else None
    if isinstance(classes, dict):
        classes = [{"name": name, **entry} for name, entry in classes.items() if isinstance(entry, dict)]
    if not isinstance(classes, list):
        return None
    entries = [entry for entry in classes if isinstance(entry, dict) and "name" in entry]
    images = document.get("images")
    return Manifest(
        {composed(str(entry["name"])): entry["real"] for entry in entries if _is_count(entry.get("real"))},
        # where images were selected, `wanted` was asked for and `made` is what passed
        tuple(
            composed(str(entry["name"])) for entry in entries if entry.get("wanted", entry.get("made")) == 0
        ),
        frozenset(
            str(image["file"])
            for image in (images if isinstance(images, list) else [])
            if isinstance(image, dict) and "real" in image and "file" in image
        ),
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(path: Path) -> bytes | None:
    try:
        folder = path if os.path.isdir(path) else _folder_of_shards(path)
        if folder is not None:
            file = folder / "manifest.json"
            return file.read_bytes() if file.is_file() else None
        if not os.path.isfile(path) or not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            return archive.read("manifest.json") if "manifest.json" in archive.namelist() else None
    except UNREADABLE as error:
        raise InputError(
            f"manifest.json of {path} can't be read ({error}); write the synthetic set again"
        ) from None


def _folder_of_shards(path: Path) -> Path | None:
    """The folder that the shards lie in, if `path` is one or a pattern for some of one folder."""
    folders = {shard.parent for shard in shard_paths(path, str(path)) or ()}
    return folders.pop() if len(folders) == 1 else None
