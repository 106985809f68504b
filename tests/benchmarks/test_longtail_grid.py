"""The whole grid on a tiny budget: trained, measured, stopped, resumed, not trained again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import benchmarks.longtail as longtail
from gan_lt.errors import InputError
from gan_lt.interruption import StopRequest

SMALL = [
    "generator.channel_max=8",
    "training.tick_kimg=0.1",
    "training.threads=1",
]


def grid(outdir: Path, *extra: str, kimg: str = "0.3", methods: str = "baseline,noise+gsr") -> int:
    options = ["--data", "digits", "--methods", methods, "--seeds", "0", "--kimg", kimg, "--device", "cpu"]
    files = ["--json", str(outdir / "t.json"), "--markdown", str(outdir / "t.md")]
    return longtail.main([*options, "--outdir", str(outdir), *files, "--per-class", "12", *SMALL, *extra])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outdir = tmp_path_factory.mktemp("grid")
    assert grid(outdir, "--plots", str(outdir / "plots")) == 0
    return outdir


def cells(outdir: Path) -> dict[str, dict]:
    return {cell["row"]: cell for cell in json.loads((outdir / "t.json").read_text())["cells"]}


@pytest.fixture
def judged(finished: Path, tmp_path: Path) -> Path:
    """A grid without a trained cell, whose judge and copies are there already."""
    for file in [*finished.glob("judge-*"), *finished.glob("*-s0.json")]:
        shutil.copy(file, tmp_path)
    return tmp_path


def test_every_row_is_measured(finished: Path) -> None:
    found = cells(finished)
    assert set(found) == {"baseline", "noise+gsr", "copies", "mixed pairs"}
    for name, cell in found.items():
        assert cell["error"] is None
        assert cell["result"]["metrics"]["fid"] > 0
        rows = cell["result"]["per_class"]
        assert [row["n_train"] for row in rows] == [124, 88, 63, 45, 32, 23, 16, 12, 8, 6]
        assert all(row["n_fake"] == 12 for row in rows)
        assert all(("w_rank" in row) == (name in ("baseline", "noise+gsr")) for row in rows)
    assert found["copies"]["result"]["metrics"]["memorization"] == 1
    assert found["copies"]["result"]["metrics"]["conditional_accuracy"] > 0.9
    # 10 steps of 32 images are the first to reach 300
    assert found["baseline"]["result"]["seconds"] * found["baseline"]["result"][
        "images_per_second"
    ] == pytest.approx(320)
    page = (finished / "t.md").read_text()
    assert "| noise+gsr | 1 |" in page
    assert "python -m benchmarks.longtail --data digits" in page
    for picture in ("classes-coverage", "classes-ifid", "training-curves"):
        assert (finished / "plots" / f"{picture}.png").stat().st_size > 5000


def test_what_is_finished_is_neither_trained_nor_measured_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cells(finished)

    def again(*_: object, **__: object) -> None:
        raise AssertionError("this was done already")

    monkeypatch.setattr("benchmarks.longtail_cells.train_run", again)
    monkeypatch.setattr("benchmarks.longtail_measuring._measure", again)
    monkeypatch.setattr("benchmarks.longtail_measuring.train_classifier", again)
    assert grid(finished) == 0
    assert cells(finished) == before


def test_other_settings_are_refused_in_the_table_not_mixed_in(finished: Path) -> None:
    assert grid(finished, "loss.r1_gamma=9.5", methods="baseline") == 1
    assert "loss.r1_gamma=0.1, not 9.5" in cells(finished)["baseline"]["error"]
    assert grid(finished, kimg="0.2", methods="baseline") == 1
    assert "0.3 kimg" in cells(finished)["baseline"]["error"]
    assert grid(finished) == 0


def test_a_stopped_cell_goes_on_to_what_an_unstopped_one_is(
    finished: Path, judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopsAtOnce(StopRequest):
        def __enter__(self) -> StopRequest:
            self.looks = 0
            return super().__enter__()

        @property
        def requested(self) -> bool:
            self.looks += 1
            return self.looks > 6

        @requested.setter
        def requested(self, value: bool) -> None:
            pass

    with monkeypatch.context() as patched:
        patched.setattr("gan_lt.training.loop.StopRequest", StopsAtOnce)
        assert grid(judged, methods="baseline") == longtail.STOPPED
    assert "baseline" not in cells(judged)
    assert not (judged / "baseline-s0" / "finished.json").exists()
    assert grid(judged, methods="baseline") == 0
    resumed, straight = cells(judged)["baseline"]["result"], cells(finished)["baseline"]["result"]
    assert resumed["metrics"]["fid"] == pytest.approx(straight["metrics"]["fid"], rel=1e-4)


def test_a_broken_cell_does_not_stop_the_others(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(grid: object, method: object, seed: int) -> bool:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(longtail, "train_cell", broken)
    assert grid(judged) == 1
    assert {name for name, cell in cells(judged).items() if cell["error"]} == {"baseline", "noise+gsr"}
    assert "RuntimeError: out of memory" in (judged / "t.md").read_text()


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["training.kimg=3"], "training.kimg"),
        (["--seeds", "0,0"], "0,0"),
        (["--per-class", "3"], "--per-class: 3"),
        (["generator.nosuch=3"], "generator.nosuch"),
        (["--data", "nosuch.zip"], "nosuch.zip"),
    ],
)
def test_bad_input_is_named_before_anything_is_trained(tmp_path: Path, extra: list[str], named: str) -> None:
    with pytest.raises(InputError, match=named):
        grid(tmp_path, *extra)
    assert not (tmp_path / "baseline-s0").exists()
