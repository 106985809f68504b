"""Lets the tests of this folder import official_files, which writes files in the official format."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
