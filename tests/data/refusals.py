"""Opening an image set that can not be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gan_lt.data import open_image_set
from gan_lt.errors import InputError


def refused(spec: Path | str, *words: str, **options: Any) -> None:
    """It is refused in one line with these words."""
    assert words
    options.setdefault("option", "--data")
    with pytest.raises(InputError) as caught:
        open_image_set(spec, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
