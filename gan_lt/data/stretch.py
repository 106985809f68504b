"""An image that lies, as it is, in a stretch of a larger file: of a zip or of a shard."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

_WHOLE_BYTES = 2**16  # up to this size a stretch is read at once; of a larger one, only what is asked for


def read_stretch(path: Path, offset: int, size: int) -> bytes:
    """``size`` bytes from ``offset``.

    The file is opened for every read: no position is shared with other threads or forked workers, and a thousand
    shards need no thousand open files.

    Raises:
        EOFError: the file ends before.
        OSError: it can't be read.
    """
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(size)
        while len(data) < size:  # a raw read may give less
            more = file.read(size - len(data))
            if not more:
                raise EOFError(f"the file ends after {len(data)} of {size} bytes")
            data += more
    return data


def open_stretch(path: Path, offset: int, size: int) -> IO[bytes]:
    """A seekable stream over ``size`` bytes from ``offset``; a header alone costs little, whatever the size."""
    if size <= _WHOLE_BYTES:
        return io.BytesIO(read_stretch(path, offset, size))
    return io.BufferedReader(_Stretch(path, offset, size))


class _Stretch(io.RawIOBase):
    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__()
        self._file = open(path, "rb", buffering=0)
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        if not view:
            return 0
        self._file.seek(self._offset + self._at)
        count = self._file.readinto(view) or 0
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
