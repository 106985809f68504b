"""Write an image set as a StyleGAN-style zip: PNG files and dataset.json."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from gan_lt.data.image_set import ImageSet
from gan_lt.data.pixels import Uint8Array
from gan_lt.data.threads import in_threads
from gan_lt.errors import InputError

_BLOCK = 1024  # images decoded and encoded at a time, so memory does not grow with the set
_EPOCH = (1980, 1, 1, 0, 0, 0)  # every entry's date, so that the same set gives the same bytes


def convert(
    image_set: ImageSet,
    out_zip: Path,
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a zip of ``CLASS/000000.png``, ... (stored) and ``dataset.json`` with labels and class_names.

    Images of a class are numbered in the set's order. The zip appears under its name when it is complete; the
    same set gives the same bytes.

    Args:
        force: overwrite ``out_zip`` if it exists.
        progress: called with the number of images written since the last call.

    Raises:
        InputError: the file exists, is not called .zip or can't be written (nothing is left behind); a
            corrupt image.
    """
    if out_zip.suffix != ".zip":
        raise InputError(f"output {out_zip} must be called something.zip")
    if out_zip.is_dir() or (out_zip.exists() and not force):
        raise InputError(f"output {out_zip} exists: choose another name, or pass --force to overwrite it")
    temporary = out_zip.with_name(f".{out_zip.name}.{os.getpid()}.tmp")
    try:
        out_zip.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w") as archive:
            _write(image_set, archive, progress)
        os.replace(temporary, out_zip)
    except OSError as error:
        raise InputError(f"output {out_zip} can't be written ({error.strerror or error})") from error
    finally:
        _remove(temporary)


def _write(image_set: ImageSet, archive: zipfile.ZipFile, progress: Callable[[int], None] | None) -> None:
    names = _entry_names(image_set)
    for start in range(0, len(image_set), _BLOCK):
        block = range(start, min(start + _BLOCK, len(image_set)))
        images = image_set.images(np.asarray(block))
        for name, data in zip(names[block.start : block.stop], _encoded(images), strict=True):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
        if progress is not None:
            progress(len(block))
    document = {
        "labels": [[name, int(label)] for name, label in zip(names, image_set.labels, strict=True)],
        "class_names": list(image_set.class_names),
    }
    text = json.dumps(document, ensure_ascii=False)
    archive.writestr(zipfile.ZipInfo("dataset.json", _EPOCH), text, compress_type=zipfile.ZIP_DEFLATED)


def _entry_names(image_set: ImageSet) -> list[str]:
    written = [0] * image_set.num_classes
    names = []
    for label in image_set.labels.tolist():
        names.append(f"{image_set.class_names[label]}/{written[label]:06d}.png")
        written[label] += 1
    return names


def _encoded(images: Uint8Array) -> Iterator[bytes]:
    for chunk in in_threads(lambda span: [_png(images[index]) for index in span], len(images)):
        yield from chunk


def _png(image: Uint8Array) -> bytes:
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def _remove(temporary: Path) -> None:
    # Also after a failure to create it, in a folder that is read-only or no folder at all.
    if temporary.exists():
        temporary.unlink()
