"""Trainings of the utility study are kept by arm and seed, and their table is what docs show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import utility as table
from eval.cache import FeatureCache
from eval.sources import ImageSource, from_arrays
from eval.utility import UtilitySettings, utility_study
from gan_lt.errors import InputError

Arrays = tuple[np.ndarray, np.ndarray]
SETTINGS = UtilitySettings(images_seen=256, replicates=20)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the trainings that were really run."""
    import eval.arm_training as arm_training

    seeds: list[int] = []
    real = arm_training.train_classifier

    def counted(*given: Any, seed: int, **settings: Any) -> Any:
        seeds.append(seed)
        return real(*given, seed=seed, **settings)

    monkeypatch.setattr(arm_training, "train_classifier", counted)
    return seeds


def study(fake: Arrays, held_out: Arrays, train: ImageSource, folder: Path, **more: Any) -> dict[str, Any]:
    return utility_study(
        train,
        from_arrays(*fake, "fake"),
        from_arrays(*held_out, "test"),
        SETTINGS,
        training_seeds=(4, 9),
        cache=FeatureCache(folder),
        **more,
    )


def test_an_interrupted_study_goes_on(
    training_rest: Arrays, good_fake: Arrays, held_out: Arrays, tmp_path: Path, trained: list[int]
) -> None:
    images, labels = training_rest
    kept = np.flatnonzero(
        (labels != 3) | (np.arange(len(labels)) % 2 == 0)
    )  # so that there is something to top up
    train = from_arrays(images[kept], labels[kept], "train")
    first = study(good_fake, held_out, train, tmp_path)
    assert trained == [4, 9] * 4
    assert study(good_fake, held_out, train, tmp_path) == first
    assert len(trained) == 8, "everything was known"

    # a generator of other images shares the arms that see none of them
    darker = (good_fake[0] // 2, good_fake[1])
    study(darker, held_out, train, tmp_path)
    assert len(trained) == 12

    for victim in tmp_path.glob("*.npy"):
        victim.write_bytes(victim.read_bytes()[:-1] + b"\x7f")
    warnings: list[str] = []
    assert study(good_fake, held_out, train, tmp_path, warnings=warnings) == first
    assert len(trained) == 20
    assert len(warnings) == 8
    assert "computed again" in warnings[0]


def test_repeated_seeds_are_refused(held_out: Arrays) -> None:
    source = from_arrays(*held_out, "all")
    for seeds in ((1, 1), (), (-1,)):
        with pytest.raises(InputError, match=r"training seeds are \["):
            utility_study(source, source, source, SETTINGS, training_seeds=seeds)


def test_the_script_prints_the_four_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """digits against themselves as synthetic images: arms, verdict and settings in Markdown."""
    out = tmp_path / "table.md"
    arguments = ["--network", "digits:train", "--train", "digits:train", "--test", "digits:test"]
    arguments += [
        "--seeds",
        "3",
        "--images-seen",
        "640",
        "--cache",
        str(tmp_path / "c"),
        "--markdown",
        str(out),
    ]
    assert table.main(arguments) == 0
    text = out.read_text("utf-8")
    assert capsys.readouterr().out == text
    assert text.count("\n| real, augmented, balanced sampling |") == 2
    assert "1 trainings an arm, each of 640 images at" in text
    with pytest.raises(InputError, match="held-out"):
        table.main([*arguments[:5], "digits:train", *arguments[6:]])
    with pytest.raises(InputError, match="--seeds: 'a'"):
        table.main([*arguments, "--seeds", "a"])
