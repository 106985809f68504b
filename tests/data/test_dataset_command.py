"""`gan-lt dataset inspect` and `convert`."""

from __future__ import annotations

import argparse
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan_lt.data import open_image_set
from gan_lt.data.commands import add_dataset_arguments, run_dataset_command
from gan_lt.data.inspect import inspect, propose_preset
from gan_lt.errors import InputError

Make = Callable[..., Path]


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_dataset_arguments(parser)
    return run_dataset_command(parser.parse_args([str(argument) for argument in arguments]))


def test_inspect_prints_every_class_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("inspect", "digits", "--imbalance", "20") == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 80
    for label, count in enumerate([124, 88, 63, 45, 32, 23, 16, 12, 8, 6]):
        assert any(line.split()[:2] == [str(label), str(count)] for line in out.splitlines())
    assert "imbalance ratio  20.67: 0 has 124, 9 6" in out
    assert "many (over 100): 1, medium (20 to 100): 5, few (under 20): 4" in out
    assert "--preset digits-lt" in out


def test_inspect_words_a_balanced_set_as_one(make_folder: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("inspect", make_folder({"a": 3, "b": 3})) == 0
    assert re.search(r"imbalance ratio +1: every class has 3 *\n", capsys.readouterr().out)


def test_inspect_lists_what_was_left_out(make_folder: Make, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder({"cat[bold]": 3, "a class with a name far too long for a narrow table": 2})
    (root / "cat[bold]" / "1.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"cat\[bold\]/1\.png is corrupt"):
        _run("inspect", root)
    assert _run("inspect", root, "--skip-corrupt") == 0
    out = capsys.readouterr().out
    assert "cat[bold]/1.png" in out
    assert "1 corrupt images" in out
    assert max(len(line) for line in out.splitlines()) <= 80


def test_summary_of_many_classes_shows_both_ends(
    capsys: pytest.CaptureFixture[str], make_folder: Make
) -> None:
    root = make_folder({f"class{k:03d}": 1 + (k == 7) for k in range(60)}, size=(8, 8))
    assert _run("inspect", root) == 0
    out = capsys.readouterr().out
    assert "... 20 more" in out
    assert out.index("class007") < out.index("class000")
    summary = inspect(open_image_set(root))
    assert (summary.ratio, summary.num_images, summary.counts[7]) == (2.0, 61, 2)


@pytest.mark.parametrize(
    ("setting", "preset"),
    [
        ((10, 16, 1), "digits-lt"),
        ((10, 32, 3), "cifar10-lt"),
        ((100, 32, 3), "cifar100-lt"),
        ((1000, 64, 3), "imagenet-lt-64"),
        ((1010, 64, 3), "inat2019-64"),
        ((5, 256, 3), "custom"),
        ((10, 32, 1), "custom"),
    ],
)
def test_proposed_preset(setting: tuple[int, int, int], preset: str) -> None:
    assert propose_preset(*setting)[0] == preset


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_convert_round_trip(make_folder: Make, tmp_path: Path, mode: str) -> None:
    root = make_folder({"b": 3, "a": 2}, mode=mode)
    out = tmp_path / "new" / "out.zip"
    assert _run("convert", root, out) == 0
    original, converted = open_image_set(root), open_image_set(out)
    assert np.array_equal(original.images(), converted.images())
    assert np.array_equal(original.labels, converted.labels)
    assert converted.class_names == ("a", "b")
    with zipfile.ZipFile(out) as archive:
        document = json.loads(archive.read("dataset.json"))
        assert archive.getinfo("a/000000.png").compress_type == zipfile.ZIP_STORED
    assert document["labels"][:3] == [["a/000000.png", 0], ["a/000001.png", 0], ["b/000000.png", 1]]
    first = out.read_bytes()
    assert _run("convert", root, out, "--force") == 0
    assert out.read_bytes() == first
    assert [path.name for path in out.parent.iterdir()] == ["out.zip"]


@pytest.mark.parametrize("name", ["0:airplane", "a:b", ":x"])
def test_names_with_a_colon_can_be_read_back(make_folder: Make, tmp_path: Path, name: str) -> None:
    root = make_folder({name: 2, "zebra": 1})
    assert _run("convert", root, tmp_path / "out.zip") == 0
    with tarfile.open(tmp_path / "out.tar", "w") as shard:
        shard.add(root, ".")
    (tmp_path / "list.txt").write_text(f"{name}/0.png 0\nzebra/0.png 1\n")
    for path in (tmp_path / "out.zip", tmp_path / "out.tar"):
        assert open_image_set(path).class_names == (name, "zebra")
    assert open_image_set(tmp_path / "list.txt", data_root=root).ids == (f"{name}/0.png", "zebra/0.png")


def test_convert_thins_and_resizes(tmp_path: Path) -> None:
    assert (
        _run(
            "convert", "digits", tmp_path / "o.zip", "--imbalance", 4, "--profile", "step", "--resolution", 8
        )
        == 0
    )
    converted = open_image_set(tmp_path / "o.zip")
    assert converted.counts.tolist() == [124] * 5 + [31] * 5
    assert converted.resolution == 8


def test_convert_refuses_and_leaves_nothing(tmp_path: Path, make_folder: Make) -> None:
    kept = tmp_path / "kept.zip"
    kept.write_bytes(b"precious")
    with pytest.raises(InputError, match=r"kept\.zip exists.*--force"):
        _run("convert", "digits", kept)
    assert kept.read_bytes() == b"precious"
    with pytest.raises(InputError, match=r"out\.tar must be called"):
        _run("convert", "digits", tmp_path / "out.tar")
    with pytest.raises(InputError, match="can't be written"):
        _run("convert", "digits", kept / "below" / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.zip"]


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan_lt.data.convert._write", full)
    with pytest.raises(InputError, match=r"out\.zip can't be written \(No space left on device\)"):
        _run("convert", "digits", tmp_path / "out.zip")
    assert not list(tmp_path.iterdir())
