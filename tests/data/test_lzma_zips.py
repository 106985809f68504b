"""Zips compressed by LZMA, as other programs write them, and damaged ones."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_lt.data import open_image_set
from gan_lt.errors import InputError


def noisy_bmp(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 8, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()


def without_end_marker(data: bytes) -> bytes:
    """An entry of method 14 whose stream stops where the data do: the first chunk of an LZMA2 stream, without its frame."""
    form = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2}
    stream = lzma.compress(data, format=lzma.FORMAT_RAW, filters=[form])
    size = ((stream[0] & 0x1F) << 16) + int.from_bytes(stream[1:3], "big") + 1
    packed = int.from_bytes(stream[3:5], "big") + 1
    assert (size, stream[6 + packed :]) == (len(data), b"\0"), "one chunk"
    properties = stream[5:6] + (1 << 20).to_bytes(4, "little")
    return b"\x09\x14" + struct.pack("<H", len(properties)) + properties + stream[6 : 6 + packed]


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """As zip programs do whose entries of method 14 have no end marker (flag bit 1 is not set)."""
    body, directory = io.BytesIO(), b""
    for text, data in files.items():
        name, packed = text.encode(), without_end_marker(data)
        head = struct.pack(
            "<HHHHHIIIHH", 63, 0, 14, 0, 0x21, zlib.crc32(data), len(packed), len(data), len(name), 0
        )
        directory += b"PK\1\2" + struct.pack("<H", 63) + head + struct.pack("<HHHII", 0, 0, 0, 0, body.tell())
        directory += name
        body.write(b"PK\3\4" + head + name + packed)
    end = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(directory), body.tell(), 0)
    path.write_bytes(body.getvalue() + directory + b"PK\5\6" + end)


def test_entries_need_not_mark_their_end(tmp_path: Path) -> None:
    files = {f"{'ab'[i % 2]}/{i:02d}.bmp": noisy_bmp(i) for i in range(40)}
    write_zip(tmp_path / "x.zip", files)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.testzip() is None
    images = open_image_set(tmp_path / "x.zip")
    assert sorted(images.ids) == sorted(files)


def test_a_damaged_description_is_one_line(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("dataset.json", '{"labels": [["a.bmp", 0]]}' * 20)
        archive.writestr("a.bmp", noisy_bmp(0))
    for place in range(60, 140, 5):
        data = bytearray(whole.getvalue())
        data[place] ^= 0xFF
        (tmp_path / "x.zip").write_bytes(data)
        with pytest.raises(InputError):
            open_image_set(tmp_path / "x.zip")
