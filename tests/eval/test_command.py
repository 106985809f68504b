"""`python -m eval`: files written, exit codes, one line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from eval.command import main

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


def test_an_output_that_cannot_be_written_is_named(
    folder: Path, features: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("here")
    target = str(tmp_path / "file" / "e.json")
    status = main(
        [
            "--real",
            "digits",
            "--fake",
            str(folder),
            "--features",
            features,
            "--metrics",
            "fid",
            "--json",
            target,
        ]
    )
    assert status == 2
    assert target in capsys.readouterr().err


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
