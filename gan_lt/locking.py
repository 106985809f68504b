"""A lock that one process at a time holds, on file systems that have locks."""

from __future__ import annotations

import errno
import sys
from typing import IO

if sys.platform != "win32":
    import fcntl

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # what some network file systems answer


def lock(file: IO[str]) -> None:
    """Hold the lock of an open file until it is closed, which the end of the process does too, however it comes.

    Where the file system has no locks there is none, and nothing is said: work goes on. So on Windows, where a file
    in use can't be removed by another process.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it can't be locked for another reason.
    """
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
