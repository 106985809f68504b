"""Each illness is found where it is planted, and in a healthy run none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_lt.config import TrainConfig
from gan_lt.doctor import doctor_command
from gan_lt.errors import InputError
from gan_lt.training.diagnosis import examine
from gan_lt.training.run_directory import create_run

HEALTHY: dict[str, Any] = {
    "D/adversarial": 1.2,
    "D/logits_real": 0.5,
    "D/logits_fake": -0.6,
    "G/w_spread": 0.8,
    "augment/p": 0.3,
    "speed/images_per_second": 300.0,
    "per_class": {"cat": {"recall": 0.4}, "dog": {"recall": 0.2}},
}


@pytest.fixture
def write(tmp_path: Path, make_config: Callable[..., TrainConfig]) -> Callable[..., Path]:
    """``write({...})``: a run of 20 ticks, healthy but for the last six, which are changed so."""

    def make(changes: dict[str, Any]) -> Path:
        run = create_run(tmp_path, make_config())
        ticks = [{"kimg": 0.024 * (n + 1), **HEALTHY, **(changes if n >= 14 else {})} for n in range(20)]
        (run / "stats.jsonl").write_text("".join(json.dumps(tick) + "\n" for tick in ticks))
        return run

    return make


def test_a_healthy_run(write: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = write({})
    assert examine(run) == []
    assert doctor_command([str(run)]) == 0
    assert "nothing unusual" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "illness", "figure"),
    [
        ({"D/adversarial": 0.01, "D/logits_real": 9.0}, "the discriminator wins", "9.0 of real"),
        ({"G/w_spread": 0.01}, "w collapses", "0.01 from 0.8"),
        ({"augment/p": 0.95}, "augmentation saturates", "0.95"),
        ({"G/skipped_steps": 2.0}, "steps overflow", "10 of the last 15"),
        ({"speed/images_per_second": 50.0}, "slower than before", "50 img/s"),
        ({"per_class": {"cat": {"recall": 0.4}, "dog": {"recall": 0.0}}}, "classes are lost", "dog"),
    ],
)
def test_planted_illnesses(
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    illness: str,
    figure: str,
) -> None:
    run = write(changes)
    (finding,) = examine(run)
    assert finding.illness == illness
    assert figure in finding.seen
    assert doctor_command([str(run), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["illness"] == illness


def test_what_was_overcome_is_not_held_against_a_run(write: Callable[..., Path]) -> None:
    run = write({"D/adversarial": 0.01})
    with open(run / "stats.jsonl", "a") as file:
        file.writelines(json.dumps({"kimg": 1 + n, **HEALTHY}) + "\n" for n in range(5))
        file.write('{"kimg": 7, "D/adv')  # killed while writing
    assert examine(run) == []


def test_lines_that_someone_has_damaged_are_passed_over(write: Callable[..., Path]) -> None:
    run = write({})
    with open(run / "stats.jsonl", "a") as file:
        for damage in ({"per_class": {"a": 3}}, {"G/w_spread": "much"}, {"G/skipped_steps": "x"}):
            file.write(json.dumps({"kimg": 1, **HEALTHY, **damage}) + "\n")
        file.write(json.dumps({"kimg": 2, **HEALTHY, "D/adversarial": 10**400}) + "\n")
    assert examine(run) == []


def test_a_run_without_statistics_is_said(write: Callable[..., Path]) -> None:
    run = write({})
    (run / "stats.jsonl").unlink()
    with pytest.raises(InputError, match="no statistics yet"):
        examine(run)
    with pytest.raises(InputError, match="is not a run"):
        examine(run.parent)


def test_doctor_times_every_operation(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor_command(["--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    timed = {row["operation"] for row in info["milliseconds"]}
    assert {"bias_act", "upfirdn2d up 2", "upfirdn2d down 2", "modulated_epilogue"} <= timed
    assert all(row["forward"] > 0 and row["with_gradient"] > 0 for row in info["milliseconds"])
    assert info["cpu"]["backend"] in ("native", "reference")
