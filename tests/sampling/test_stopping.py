"""generate killed at random moments, as the machine or a person would: the same bytes in the end, nothing sampled twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.live import Live

from gan_lt.commands import generate_command
from gan_lt.data import open_image_set
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import writing
from gan_lt.sampling.images import CHUNK
from gan_lt.sampling.unfinished import unfinished_path

MakeGenerator = Callable[..., Generator]
Digests = Callable[[Path], dict[str, str]]

ROOT = Path(__file__).parents[2]
CIFAR = ROOT.parent / "shared/data/cifar10-lt-r100-train.zip"
CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

# generate in a process of its own that waits a little after each unit, so that a kill falls into the middle
SLOWED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
from gan_lt.commands import generate_command, run_command
import gan_lt.sampling.writing as writing
plain = writing.fill_set
def fill_set(target, units, *rest):
    def slowly():
        for number, unit in enumerate(units):
            time.sleep(600 if number == HELD_AT else 0.02)
            yield unit
    plain(target, slowly(), *rest)
writing.fill_set = fill_set
print("ready", flush=True)
sys.exit(run_command(generate_command, sys.argv[1:]))
"""


def start(arguments: list[str], held_at: int | None = None) -> subprocess.Popen[str]:
    """held_at: the unit before which it waits to be killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"HELD_AT = {held_at}\n{SLOWED}", *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def wait(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    """Until it is there; a process that ends or hangs before fails the test."""
    deadline = time.monotonic() + 60
    while not there():
        assert process.poll() is None, process.communicate()[1]
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"nothing came in 60 s: {process.communicate()[1]}")
        time.sleep(0.002)


def saved(out: Path) -> set[str]:
    work = unfinished_path(out)
    folders = [work / name for name in ("set", "units")]
    return {str(file) for folder in folders for file in folder.rglob("*") if not file.name.startswith(".")}


@pytest.fixture
def network(tmp_path: Path, make_generator: MakeGenerator) -> Path:
    make_generator().save_pretrained(tmp_path / "network")
    return tmp_path / "network"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_killed_again_and_again_it_ends_with_the_same_bytes(
    tmp_path: Path, network: Path, digests: Digests, form: str
) -> None:
    out, whole = tmp_path / f"out.{form}", tmp_path / f"whole.{form}"
    common = ["--network", str(network), "--per-class", "700", "--seed", "3", "--format", form]
    assert generate_command([*common, "--outdir", str(whole)]) == 0
    rng = np.random.default_rng(0)
    times: dict[str, int] = {}
    for _ in range(2):
        process = start([*common, "--outdir", str(out)])
        before = len(saved(out))
        wait(process, lambda before=before: len(saved(out)) > before)  # type: ignore[misc]
        time.sleep(float(rng.uniform(0, 0.15)))
        process.kill()
        process.communicate()
        assert not out.exists()
        for file in saved(out):
            if Path(file).is_file():
                times.setdefault(file, Path(file).stat().st_mtime_ns)
                assert Path(file).stat().st_mtime_ns == times[file]  # nothing made twice
    assert 0 < len([file for file in times if Path(file).is_file()])
    assert generate_command([*common, "--outdir", str(out)]) == 0
    if form == "zip":
        assert out.read_bytes() == whole.read_bytes()
    else:
        assert digests(out) == digests(whole)
        kept = [
            out / Path(file).relative_to(unfinished_path(out) / "set")
            for file in times
            if file.endswith(".png")
        ]
        assert all(
            path.stat().st_mtime_ns == times[str(unfinished_path(out) / "set" / path.relative_to(out))]
            for path in kept
        )
    assert not unfinished_path(out).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_a_word_and_status_130(
    tmp_path: Path, network: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    common = ["--network", str(network), "--per-class", str(20 * CHUNK), "--outdir", str(out)]
    process = start(common)
    wait(process, lambda: len(saved(out)) >= CHUNK)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert "same command" in message
    assert "Traceback" not in message
    there = len(saved(out))
    with pytest.raises(InputError, match="unfinished, from another command"):
        generate_command([*common, "--seed", "4"])
    assert len(saved(out)) == there
    assert generate_command(common) == 0
    assert open_image_set(out).counts.tolist() == [20 * CHUNK] * 3
    with pytest.raises(InputError, match="exists already"):
        generate_command(common)


def test_a_stop_is_told_where_outdir_is_a_link(
    tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk" / "out").mkdir(parents=True)
    (tmp_path / "link").symlink_to("disk/out")
    plain = writing.fill_set

    def fill_set(target: Any, units: Any, *rest: Any) -> None:
        plain(target, units[:1], *rest)
        signal.raise_signal(signal.SIGINT)
        plain(target, units[1:], *rest)

    command = ["--network", str(network), "--per-class", str(4 * CHUNK), "--outdir", str(tmp_path / "link")]
    monkeypatch.setattr(writing, "fill_set", fill_set)
    with pytest.raises(KeyboardInterrupt):
        generate_command(command)
    monkeypatch.undo()
    assert str(tmp_path / "disk" / ".out.partial") in capsys.readouterr().err
    assert (tmp_path / "disk" / ".out.partial").is_dir()
    assert generate_command(command) == 0
    assert open_image_set(tmp_path / "link").counts.tolist() == [4 * CHUNK] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_progress_bar_starts(
    tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A bar that an exception leaves half started can't be stopped."""
    plain = Live._enable_redirect_io

    def interrupted(self: Live) -> None:
        signal.raise_signal(number)
        plain(self)

    monkeypatch.setattr(Live, "_enable_redirect_io", interrupted)
    monkeypatch.setattr("gan_lt.generation.console", Console(stderr=True, force_terminal=True))
    before = signal.getsignal(number)
    command = ["--network", str(network), "--per-class", str(4 * CHUNK), "--outdir", str(tmp_path / "out")]
    with pytest.raises(KeyboardInterrupt):
        generate_command(command)
    assert signal.getsignal(number) is before
    monkeypatch.undo()
    assert generate_command(command) == 0


@pytest.mark.slow
def test_killed_while_selecting(tmp_path: Path, network: Path, digests: Digests) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    common = ["--network", str(network), "--per-class", "600", "--drop-duplicates", "0.004"]
    assert generate_command([*common, "--outdir", str(whole)]) == 0
    candidates = unfinished_path(out) / "candidates"
    process = start([*common, "--outdir", str(out)], held_at=0)
    wait(process, lambda: len(list(candidates.glob("*.npz"))) > 5)
    process.kill()
    process.communicate()
    judged = {file: file.stat().st_mtime_ns for file in candidates.glob("*.npz")}
    assert judged
    assert not out.exists()
    process = start([*common, "--outdir", str(out)], held_at=3)
    wait(process, lambda: len(saved(out)) >= CHUNK)
    assert {file: file.stat().st_mtime_ns for file in judged} == judged  # nothing judged twice
    process.kill()
    process.communicate()
    assert not out.exists()
    assert generate_command([*common, "--outdir", str(out)]) == 0
    assert digests(out) == digests(whole)


@pytest.mark.skipif(not CIFAR.is_file(), reason=f"{CIFAR} is not here")
@pytest.mark.slow
def test_topping_up_cifar10_lt_levels_it_also_when_killed(
    tmp_path: Path, make_generator: MakeGenerator
) -> None:
    make_generator(
        num_classes=10,
        resolution=32,
        channel_base=128,
        img_channels=3,
        class_names=CIFAR_CLASSES,
        class_counts=None,
    ).save_pretrained(tmp_path / "network")
    common = [
        "--network",
        str(tmp_path / "network"),
        "--top-up",
        str(CIFAR),
        "--copy-real",
        "--format",
        "zip",
    ]
    out = tmp_path / "out.zip"
    process = start([*common, "--outdir", str(out)])
    wait(process, lambda: len(saved(out)) >= 200)
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert not out.exists()
    assert generate_command([*common, "--outdir", str(out)]) == 0
    level, real = open_image_set(out), open_image_set(CIFAR, channels=3)
    assert level.class_names == real.class_names
    assert level.counts.tolist() == [5000] * 10
    with zipfile.ZipFile(out) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert [c["real"] for c in manifest["classes"]] == real.counts.tolist()
    assert [c["made"] for c in manifest["classes"]] == (5000 - real.counts).tolist()
    copied = [i for i, name in enumerate(level.ids) if "/real-" in name]
    assert np.array_equal(level.images(copied), real.images(np.argsort(real.labels, kind="stable")))
