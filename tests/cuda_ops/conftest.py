"""Skips the tests of native kernels, by name and with the reason, where there are none."""

from __future__ import annotations

import pytest

from cuda_ops import library, use_backend

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    """A device type with native kernels; operations inside use them or fail."""
    reason = library.unavailable(request.param)
    if reason is not None:
        pytest.skip(f"no native kernels on {request.param}: {reason}")
    with use_backend("native"):
        yield request.param
