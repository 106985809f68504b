"""Small image sets on disk, drawn from a seed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """``make_folder({"cat": 3, "dog": 2}, size=(16, 16), mode="RGB")``: a folder of random PNG images."""

    def make(
        classes: dict[str, int], size: tuple[int, int] = (16, 16), mode: str = "RGB", name: str = "set"
    ) -> Path:
        generator = np.random.default_rng(0)
        root = tmp_path / name
        for class_name, count in classes.items():
            (root / class_name).mkdir(parents=True)
            for index in range(count):
                shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
                pixels = generator.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / class_name / f"{index}.png")
        return root

    return make


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[..., Path]:
    """``make_zip(folder, labels)``: the folder's images in a zip, ``labels`` as dataset.json, if given."""

    def make(folder: Path, document: object = None, prefix: str = "") -> Path:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*.png")):
                archive.write(file, prefix + file.relative_to(folder).as_posix())
            if document is not None:
                archive.writestr(f"{prefix}dataset.json", json.dumps(document))
        return path

    return make
