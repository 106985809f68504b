"""`python -m eval`: files written, exit codes, one line for bad input."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from eval import evaluate
from eval.command import main
from gan_lt.errors import InputError

Arrays = tuple[np.ndarray, np.ndarray]


class Pool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 4).flatten(1)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("net") / "pool.pt"
    torch.jit.script(Pool()).save(str(path))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, good_fake: Arrays) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    for index, (image, label) in enumerate(zip(*good_fake, strict=True)):
        (root / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image[0]).save(root / str(label) / f"{index}.png")
    counts = [124, 88, 63, 45, 32, 23, 16, 12, 8, 6]
    classes = [{"name": str(k), "real": n, "made": 50} for k, n in enumerate(counts)]
    (root / "manifest.json").write_text(json.dumps({"classes": classes}))
    return root


def test_folder_against_digits(
    folder: Path, features: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        [
            "--real",
            "digits",
            "--fake",
            str(folder),
            "--features",
            features,
            "--metrics",
            "fid,ifid,prdc",
            "--json",
            str(tmp_path / "e.json"),
            "--report",
            str(tmp_path / "e.html"),
            "--replicates",
            "50",
            "--cache",
            str(tmp_path / "cache"),
        ]
    )
    output = capsys.readouterr().out
    assert status == 0
    document = json.loads((tmp_path / "e.json").read_text())
    assert [row["n_train"] for row in document["per_class"]] == [124, 88, 63, 45, 32, 23, 16, 12, 8, 6]
    assert document["features"]["dim"] == 16
    lines = [line for line in output.splitlines() if line.strip().startswith(("0 ", "9 "))]
    assert [line.split()[0] for line in lines] == ["0", "9"], "rarest last"
    assert "FD (pool.pt)" in output
    page = (tmp_path / "e.html").read_text()
    assert "<svg" in page
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--real", "nowhere", "--fake", "digits"], "nowhere"),
        (["--real", "digits", "--fake", "digits:train", "--features", "vgg"], "vgg"),
        (["--real", "digits", "--fake", "digits:train", "--metrics", "fid,x"], "'x'"),
        (["--real", "digits", "--fake", "digits:train", "--k", "0", "--metrics", "prdc"], "k is 0"),
        (["--real", "digits", "--fake", "digits:train", "--seed", "4294967296"], "seed is 4294967296"),
        (["--real", "digits", "--fake", "digits:train", "--truncation", "-3"], "--truncation: -3"),
        (["--real", "digits", "--fake", "digits:train", "--device", "gpu"], "'gpu' is not a device"),
        (["compare", "nowhere.json", "nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, features: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = [] if arguments[0] == "compare" else ["--json", str(tmp_path / "e.json")]
    if "--features" not in arguments and outputs:
        outputs += ["--features", features]
    assert main([*arguments, *outputs]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--json", "--report"])
@pytest.mark.parametrize("name", ["file/e.out", "file/deep/e.out", "folder", "n" * 300])
def test_an_output_that_cannot_be_written_is_named_before_anything_is_computed(
    option: str,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def computed(*_: object, **__: object) -> None:
        raise AssertionError("minutes are spent before the output is looked at")

    monkeypatch.setattr("eval.evaluation.open_source", computed)
    (tmp_path / "file").write_text("here")
    (tmp_path / "folder").mkdir()
    target = str(tmp_path / name)
    good = ["--json", str(tmp_path / "new" / "e.json")] if option == "--report" else []
    assert main(["--real", "digits", "--fake", "digits:train", *good, option, target]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {target} can't be written (")
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"], (
        "nothing is left by looking"
    )
    with pytest.raises(InputError, match="can't be written"):
        evaluate("digits", "digits:train", **{option[2:]: target})


def test_a_disk_that_fills_up_while_it_computes_does_not_lose_the_table(
    folder: Path,
    features: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("eval.atomic_file.os.replace", full)
    target = str(tmp_path / "e.json")
    command = ["--real", "digits", "--fake", str(folder), "--features", features, "--metrics", "fid"]
    assert main([*command, "--replicates", "0", "--json", target]) == 2
    output = capsys.readouterr()
    assert "FD (pool.pt)" in output.out
    assert "wrote" not in output.out
    assert f"{target} can't be written (No space left on device)" in output.err
    assert not list(tmp_path.iterdir())


def test_compare_tells_better_from_noise(
    folder: Path, features: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, fake in (("good", str(folder)), ("same", "digits:test")):
        command = ["--real", "digits", "--fake", fake, "--features", features, "--metrics", "fid,ifid"]
        assert main([*command, "--json", str(tmp_path / f"{name}.json"), "--quiet"]) == 0
    capsys.readouterr()
    both = [str(tmp_path / "good.json"), str(tmp_path / "same.json")]
    assert main(["compare", *both, "--report", str(tmp_path / "c.html")]) == 0
    output = capsys.readouterr().out
    assert "difference" in output
    assert "digits:test" in output
    assert "can't be compared" not in output
    assert "Two evaluations side by side" in (tmp_path / "c.html").read_text()
    (tmp_path / "other.json").write_text('{"metrics": {}}')
    assert main(["compare", both[0], str(tmp_path / "other.json")]) == 2
    assert "is not an evaluation" in capsys.readouterr().err
