"""The members of a tar file, from its headers alone: what a shard holds and where, in bytes.

Python's tarfile keeps an object of 1 kB for every member and takes 0.1 ms to make it; shards have millions of members.
"""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from gan_lt.data.image_set import DRIVE
from gan_lt.data.labelling import is_legible
from gan_lt.errors import InputError

_BLOCK = 512
_ZEROS = bytes(2**18)
_WINDOW = 8 * _BLOCK  # read at once: small members share a read with their headers
_MAX_NAME, _MAX_PAX = 1024, 2**20
_REGULAR, _FOLDER = (b"0", b"\0", b"7"), b"5"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"S": "a sparse file",
}


class Member(NamedTuple):
    """A file in a tar: its data are ``size`` bytes from ``offset``."""

    name: str
    offset: int
    size: int


class TarMembers:
    """The files in a tar that is open unbuffered, in order. ``shown`` is how messages name it.

    Understood are POSIX (ustar and pax) and GNU headers. Folders are passed over.
    """

    def __init__(self, file: io.FileIO, shown: str) -> None:
        self._file = file
        self._shown = shown
        self._end = file.seek(0, os.SEEK_END)
        self._window, self._window_at = b"", 0

    def text(self, member: Member, most: int) -> bytes:
        """The data of a member of up to ``most`` bytes.

        Raises:
            InputError: it is larger.
        """
        if member.size > most:
            raise InputError(
                f"{self._shown}: entry {member.name!r} has {member.size} bytes, more than the {most} that a label may "
                "have: make the shard again"
            )
        return self._bytes(member.offset, member.size)

    def __iter__(self) -> Iterator[Member]:
        """Yield every file.

        Raises:
            InputError: no tar, a damaged one, one that is cut short; a link, a device or a sparse file; a name that is not
                UTF-8, too long or leads out of the tar.
            OSError: it can't be read.
        """
        at = 0
        name: str | None = None
        pax_size: int | None = None
        while True:
            header = self._bytes(at, _BLOCK)
            if not any(header):
                self._require_nothing_behind(at)
                return
            size = self._checked_size(header, at)
            kind = header[156:157]
            if kind == _FOLDER:
                size = 0  # what is said there is room that some file systems keep for its entries, not data
            elif kind not in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
                size = size if pax_size is None else pax_size
            data = at + _BLOCK
            if size > self._end - data:
                raise self._cut_short(at)
            if kind == _LONG_NAME:
                name = self._name(self._bytes(data, self._bounded(size, 4 * _MAX_NAME, at)).rstrip(b"\0"), at)
            elif kind == _PAX:
                records = self._pax(self._bytes(data, self._bounded(size, _MAX_PAX, at)), at)
                if any(key.startswith(b"GNU.sparse") for key in records):
                    raise self._refused(_KINDS[b"S"], at)
                if b"path" in records:
                    name = self._name(records[b"path"], at)
                if b"size" in records:
                    pax_size = self._number(records[b"size"], 10, at)
            elif kind == _PAX_GLOBAL:
                records = self._pax(self._bytes(data, self._bounded(size, _MAX_PAX, at)), at)
                if b"path" in records or b"size" in records:
                    raise self._damaged(at)
            elif kind != _LONG_LINK:
                if name is None:
                    name = self._name(_ustar_name(header), at)
                if kind in _REGULAR and not name.endswith("/"):
                    yield Member(self._inside(name), data, size)
                elif kind != _FOLDER and kind not in _REGULAR:
                    raise self._refused(f"{name!r}, {_KINDS.get(kind, f'of the unknown kind {kind!r}')}", at)
                name = pax_size = None
            at = data + -(-size // _BLOCK) * _BLOCK

    def _bytes(self, offset: int, size: int) -> bytes:
        begin = offset - self._window_at
        if 0 <= begin and begin + size <= len(self._window):
            return self._window[begin : begin + size]
        self._file.seek(offset)
        window = self._file.read(max(size, _WINDOW))
        if len(window) < size:
            raise self._cut_short(offset)
        self._window, self._window_at = window, offset
        return window[:size]

    def _require_nothing_behind(self, end_mark: int) -> None:
        """Writers pad with zeros, to 10 KiB as a rule; anything else would be left out in silence."""
        self._file.seek(end_mark)
        while block := self._file.read(len(_ZEROS)):
            if not _ZEROS.startswith(block):
                raise InputError(
                    f"{self._shown} goes on behind its end mark at byte {end_mark}: tars are not joined end to end, give both"
                )

    def _checked_size(self, header: bytes, at: int) -> int:
        said = self._number(header[148:156], 8, at)
        # the sum is over the header with blanks in the place of the sum
        if said != sum(header) - sum(header[148:156]) + 8 * 0x20:
            raise self._damaged(at)
        field = header[124:136]
        if field[0] & 0x80:  # GNU's form for sizes from 8 GiB on
            return int.from_bytes(field[1:], "big") if field[0] == 0x80 else self._end + 1
        return self._number(field, 8, at)

    def _number(self, field: bytes, base: int, at: int) -> int:
        digits = field.strip(b" \0")
        if len(digits) > 20 or not (digits.isdigit() or not digits):
            raise self._damaged(at)
        try:
            return int(digits or b"0", base)
        except ValueError:
            raise self._damaged(at) from None

    def _pax(self, data: bytes, at: int) -> dict[bytes, bytes]:
        """Records "length key=value\\n", the length that of the whole record."""
        records: dict[bytes, bytes] = {}
        begin, end = 0, len(data.rstrip(b"\0"))
        while begin < end:
            length_text, blank, _ = data[begin : begin + 12].partition(b" ")
            length = self._number(length_text, 10, at) if blank else 0
            record = data[begin + len(length_text) + 1 : begin + length]
            key, equals, value = record.partition(b"=")
            if begin + length > end or not equals or not value.endswith(b"\n"):
                raise self._damaged(at)
            records[key] = value[:-1]
            begin += length
        return records

    def _bounded(self, size: int, most: int, at: int) -> int:
        if size > most:
            raise self._damaged(at)
        return size

    def _name(self, name: bytes, at: int) -> str:
        try:
            text = name.decode()
        except UnicodeDecodeError:
            raise InputError(
                f"{self._shown}: the name of the entry at byte {at}, {name!r:.80}, is not UTF-8: make it again"
            ) from None
        if len(text) > _MAX_NAME or not is_legible(text):
            raise InputError(
                f"{self._shown}: the name of the entry at byte {at}, {text!r:.80}, is longer than {_MAX_NAME} letters or has "
                "some that can't be printed: make it again"
            )
        if not text:
            raise self._damaged(at)
        return text

    def _inside(self, name: str) -> str:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or DRIVE.match(name):
            raise InputError(
                f"{self._shown}: entry {name!r:.200} points outside the shard: make it again with relative names"
            )
        return posixpath.normpath(name)

    def _damaged(self, at: int) -> InputError:
        if at == 0:
            compressed = self._bytes(0, 2) == b"\x1f\x8b"
            remedy = "it is compressed, unpack it with gunzip" if compressed else "make or download it again"
            return InputError(f"{self._shown} is not a tar that can be read: {remedy}")
        return InputError(
            f"{self._shown} is damaged (the header at byte {at} is not a tar's): make or download it again"
        )

    def _cut_short(self, at: int) -> InputError:
        if at == 0 and self._end < _BLOCK:
            return InputError(f"{self._shown} is not a tar that can be read: make or download it again")
        return InputError(
            f"{self._shown} is cut short (its {self._end} bytes end within what begins at byte {at}): "
            "make or download it again"
        )

    def _refused(self, what: str, at: int) -> InputError:
        return InputError(
            f"{self._shown}: the entry at byte {at} is {what}: shards hold plain files, make it again without"
        )


def _ustar_name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    # GNU's own headers have other things in the place of the prefix
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name
