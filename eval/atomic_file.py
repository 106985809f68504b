"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from gan_lt.errors import InputError
from gan_lt.file_modes import make_ordinary


def require_writable(path: Path) -> None:
    """Raises InputError for a file that `write_text` could not write, before anything is computed for it.

    Nothing stays behind: a file is made beside it, or in the nearest folder above that exists, and goes at once.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = next(place for place in path.absolute().parents if os.path.lexists(place))
        # as long a name as that of the partial file
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror}); give another place") from None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, making its folder; a failure leaves what was there. Raises InputError."""
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        make_ordinary(partial)  # mkstemp makes it private
        os.replace(partial, path)
    except OSError as error:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise InputError(f"{path} can't be written ({error.strerror}); give another place") from None
