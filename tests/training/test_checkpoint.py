"""Checkpoints: what comes back, what is refused, how many are kept."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_lt.models import Generator
from gan_lt.training.checkpoint import (
    DamagedCheckpointError,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from gan_lt.training.run_directory import remove_leftovers

STATE: dict[str, Any] = {
    "step": 3,
    "name": "é",
    "none": None,
    "nested": {0: torch.arange(6).reshape(2, 3), 1: [1.5, True, torch.zeros(())]},
    "bits": torch.tensor([1, 255], dtype=torch.uint8),
    "half": torch.randn(3, generator=torch.Generator().manual_seed(0)).bfloat16(),
    "empty": torch.zeros(0, 4),
    "nhwc": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
}


def test_round_trip(tmp_path: Path) -> None:
    loaded = load_checkpoint(save_checkpoint(tmp_path, STATE, 1000, keep=2))
    assert loaded.keys() == STATE.keys()
    assert (loaded["step"], loaded["name"], loaded["none"]) == (3, "é", None)
    assert list(loaded["nested"]) == [0, 1]
    assert loaded["nested"][1][:2] == [1.5, True]
    for ours, theirs in [
        (STATE["nested"][0], loaded["nested"][0]),
        (STATE["nested"][1][2], loaded["nested"][1][2]),
        *((STATE[name], loaded[name]) for name in ("bits", "half", "empty", "nhwc")),
    ]:
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_keeps_the_last(tmp_path: Path) -> None:
    for kimg in (1, 2, 9, 10):
        save_checkpoint(tmp_path, STATE, kimg * 1000, keep=3)
    (tmp_path / "notes.txt").write_text("mine")
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        f"kimg-{kimg:06d}.safetensors" for kimg in (2, 9, 10)
    ]
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    assert list_checkpoints(tmp_path / "nowhere") == []


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of files that ends the process, as Linux has it")
def test_what_a_killed_writer_leaves_goes(tmp_path: Path) -> None:
    """safetensors writes under a name of its own, which it alone knows."""
    for name in ("checkpoints", "network"):
        (tmp_path / name).mkdir()
        killed = subprocess.run(
            [
                sys.executable,
                "-c",
                "import resource, signal, sys, torch; from safetensors.torch import save_file\n"
                "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
                "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
                "save_file({'x': torch.zeros(100_000)}, sys.argv[1])",
                tmp_path / name / ".kimg-000001.safetensors.42",
            ],
            check=False,
            timeout=60,
        )
        assert killed.returncode == -signal.SIGXFSZ
        assert len(list((tmp_path / name).iterdir())) == 1
    mine = tmp_path / ".tmpabcdef"
    mine.write_text("notes")
    remove_leftovers(tmp_path)
    assert [list((tmp_path / name).iterdir()) for name in ("checkpoints", "network")] == [[], []]
    assert mine.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are Unix's")
def test_a_checkpoint_and_a_network_are_as_readable_as_any_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        checkpoint = save_checkpoint(tmp_path, STATE, 1000, keep=2)
        Generator(resolution=8, num_classes=2, z_dim=4, w_dim=4, channel_max=4).save_pretrained(
            tmp_path / "n"
        )
    finally:
        os.umask(before)
    for path in (checkpoint, tmp_path / "n" / "model.safetensors", tmp_path / "n" / "config.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, path


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, STATE, 1000, keep=2)
    good = path.read_bytes()
    step = good.index(b"step") + len(rb"step\", ")  # the number 3, in the header's JSON
    assert good[step : step + 1] == b"3"
    for damaged in (b"", b"hello", good[:50], good[:-1], _flip(good, len(good) - 5), _flip(good, step)):
        path.write_bytes(damaged)
        with pytest.raises(DamagedCheckpointError) as caught:
            load_checkpoint(path)
        assert path.name in str(caught.value)
    path.write_bytes(good)
    assert load_checkpoint(path)["step"] == 3


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path, STATE, 1000, keep=1)
    with pytest.raises(TypeError, match="object"):
        save_checkpoint(tmp_path, {"bad": object()}, 2000, keep=1)
    assert list(tmp_path.iterdir()) == [first]
