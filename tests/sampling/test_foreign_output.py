"""An unfinished set is never taken for finished because something else lies at its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import GANOverSampler, plan_per_class, write_synthetic_set
from gan_lt.sampling.unfinished import unfinished_path


@pytest.fixture
def generator() -> Generator:
    names = ["cat", "horse"]
    return Generator(
        z_dim=4, num_classes=2, w_dim=4, resolution=8, img_channels=1, channel_base=32, class_names=names
    ).eval()


def stop(images: int) -> None:
    raise KeyboardInterrupt


def test_something_else_at_the_place_is_kept_and_so_is_the_work(tmp_path: Path, generator: Generator) -> None:
    out, plan = tmp_path / "out", plan_per_class(generator, 100, None)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_set(generator, plan, out, progress=stop)
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    for _ in range(2):
        with pytest.raises(InputError, match="exists already"):
            write_synthetic_set(generator, plan, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    assert unfinished_path(out).is_dir()
    (out / "notes.txt").unlink()
    assert write_synthetic_set(generator, plan, out).made.tolist() == [100, 100]
    assert len(list(out.glob("*/*.png"))) == 200
    assert not unfinished_path(out).exists()


def test_the_current_folder_is_refused_before_anything_is_sampled(
    tmp_path: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="can't be replaced"):
        write_synthetic_set(generator, plan_per_class(generator, 4, None), Path(), progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_an_empty_folder_is_followed(tmp_path: Path, generator: Generator) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    written = write_synthetic_set(generator, plan_per_class(generator, 3, None), tmp_path / "out")
    assert written.made.tolist() == [3, 3]
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 6


def test_labels_of_made_images_are_whole(generator: Generator) -> None:
    X, y = np.zeros((3, 8, 8, 1), dtype=np.uint8), np.array(["cat"] * 3)
    _, labels = GANOverSampler(generator, sampling_strategy={"horse": 2}).fit_resample(X, y)
    assert labels.tolist() == ["cat"] * 3 + ["horse"] * 2
