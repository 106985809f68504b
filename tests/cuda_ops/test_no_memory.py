"""A kernel that finds no memory says so in words that the training's remedies know."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cuda_ops import backend_info
from cuda_ops.cuda_launch import _check

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's"),
    pytest.mark.skipif(backend_info()["cpu"]["backend"] != "native", reason="no native kernels on the CPU"),
]


def test_no_memory_is_said(tmp_path):
    """torch's C interface drops the reason; callers look for "not enough memory" to name a remedy."""
    script = tmp_path / "out_of_memory.py"
    script.write_text(
        """
import resource, torch
from cuda_ops import bias_act, conv3x3, modulated_epilogue, ops, upfirdn2d, use_backend

x, f = torch.zeros(4, 64, 128, 128), torch.ones(4)
half = torch.zeros(4_000_000, dtype=torch.bfloat16)
tall = torch.zeros(1, 1, 1, 1)
wide, weight = torch.zeros(12, 512, 4, 4).to(memory_format=torch.channels_last), torch.zeros(512, 512, 3, 3)
calls = {
    "bias_act": lambda: bias_act(x, act="lrelu"),
    "epilogue": lambda: modulated_epilogue(x, torch.ones(4, 64)),
    "upfirdn2d": lambda: upfirdn2d(x, f, padding=2),
    "another layout": lambda: upfirdn2d(x.transpose(2, 3), f, down=8),
    "another type": lambda: bias_act(torch.zeros(1, 4_000_000, dtype=torch.bfloat16), half),
    "its plans": lambda: upfirdn2d(tall, None, padding=(0, 0, 0, 1_500_000)),  # 24 bytes a row, 4 in the output
    "a convolution": lambda: conv3x3(wide, weight),  # 36 values for 9 of the weights
    "its gradient": lambda: ops.conv3x3_weight(wide, wide, False),
}
with use_backend("native"):
    for call in calls.values():
        call()
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 12_000_000, resource.RLIM_INFINITY))
    for name, call in calls.items():
        try:
            call()
        except RuntimeError as error:
            print(name, error)
"""
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    names = "bias_act;epilogue;upfirdnNd;another layout;another type;its plans;a convolution;its gradient"
    assert re.sub(r"\d+", "N", done.stdout).splitlines() == [
        f"{name} cuda_ops: not enough memory for N bytes" for name in names.split(";")
    ]


def test_a_launch_without_memory_is_told_as_torch_tells_it():
    """Kernels are loaded when they are first launched, and that may find the device full."""
    _check(0, "k", (1, 1, 1), (1, 1))
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory on launching k"):
        _check(2, "k", (1, 1, 1), (1, 1))
    with pytest.raises(RuntimeError, match="CUDA error 700 on launching k"):
        _check(700, "k", (1, 1, 1), (1, 1))
