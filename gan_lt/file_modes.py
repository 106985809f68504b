"""Who may read a file that was made."""

from __future__ import annotations

import os
from pathlib import Path


def make_ordinary(path: Path) -> None:
    """Give a file the mode that any new file has here: what makes it for us may have made it private."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
