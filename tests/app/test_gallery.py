"""What `gan-lt app` shows, without the page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_lt import cli
from gan_lt.app.gallery import Gallery, open_gallery
from gan_lt.app.pictures import TILE
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.models import Generator

COUNTS = {"ant": 5, "bee": 40, "cow": 1}


def make_generator(**changes: object) -> Generator:
    torch.manual_seed(0)
    settings: dict[str, object] = {
        "z_dim": 8, "num_classes": 3, "w_dim": 8, "resolution": 8, "img_channels": 1, "channel_max": 8,
        "mapping_layers": 2, "class_names": list(COUNTS), "class_counts": list(COUNTS.values()),
    }  # fmt: skip
    return Generator(**{**settings, **changes}).eval()


@pytest.fixture
def real() -> ImageSet:
    """cow first: an order other than the network's; every image of a class has its own grey."""
    labels = np.repeat([0, 1, 2], [1, 5, 40])
    images = np.broadcast_to(labels[:, None, None, None] * 50, (46, 1, 8, 8)).astype(np.uint8)
    return ImageSet.from_arrays(images, labels, ["cow", "ant", "bee"])


@pytest.fixture
def gallery(real: ImageSet) -> Gallery:
    return Gallery(make_generator(), real)


def test_classes_are_named_with_their_images_the_most_common_first(gallery: Gallery) -> None:
    assert gallery.class_names == ("bee", "ant", "cow")
    assert [gallery.describe(name) for name in gallery.class_names] == [
        "bee (40 images)",
        "ant (5 images)",
        "cow (1 image)",
    ]


def test_samples_are_the_first_images_of_generate(gallery: Gallery, tmp_path: Path) -> None:
    gallery.generator.save_pretrained(tmp_path / "network")
    arguments = ["--network", str(tmp_path / "network"), "--outdir", str(tmp_path / "out"), "--seed", "3"]
    assert cli.main(["generate", *arguments, "--per-class", "1", "--truncation", "0.5"]) == 0
    (written,) = (tmp_path / "out" / "ant").glob("*.png")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["seed"] == 3
    shown = gallery.samples("ant", seed=3, truncation_psi=0.5, images=1)
    factor = TILE // 8
    assert shown.shape == (TILE, TILE)
    np.testing.assert_array_equal(shown[::factor, ::factor], np.asarray(Image.open(written)))
    assert not np.array_equal(shown, gallery.samples("ant", seed=4, truncation_psi=0.5, images=1))
    assert not np.array_equal(shown, gallery.samples("bee", seed=3, truncation_psi=0.5, images=1))


def test_real_images_are_found_by_name(gallery: Gallery) -> None:
    shown = gallery.real_images("bee", images=6)
    assert shown is not None
    assert shown.shape == (2 * TILE, 3 * TILE)
    assert set(np.unique(shown)) == {100}
    cow = gallery.real_images("cow", images=6)
    assert cow is not None
    assert cow.shape == (TILE, TILE)
    assert cow.max() == 0


def test_rows_have_every_class_and_its_name(gallery: Gallery) -> None:
    rows = gallery.rows(seed=0, truncation_psi=1.0, columns=4)
    assert rows.shape[0] == 3 * TILE
    left = rows.shape[1] - 4 * TILE
    assert left > TILE
    for row in range(3):  # a name in each
        assert rows[row * TILE : (row + 1) * TILE, :left].min() < 100
    # one class: its row begins with its samples
    first = gallery.samples("bee", seed=0, truncation_psi=1.0, images=1)
    np.testing.assert_array_equal(rows[:TILE, left : left + TILE, 0], first)


def test_many_classes_come_in_pages() -> None:
    names = [f"class {k}" for k in range(45)]
    gallery = Gallery(make_generator(num_classes=45, class_names=names, class_counts=range(45, 0, -1)), None)
    assert gallery.pages == 3
    assert gallery.rows(0, 1.0, columns=1, page=3).shape[0] == 5 * TILE
    with pytest.raises(InputError, match="page 4 must be from 1 to 3"):
        gallery.rows(0, 1.0, page=4)


def test_an_unconditional_network_has_one_row(real: ImageSet) -> None:
    gallery = Gallery(make_generator(num_classes=0, class_names=None, class_counts=None), real)
    assert gallery.class_names == ("all",)
    assert gallery.samples("all", 0, 1.0, 4).shape == (2 * TILE, 3 * TILE)
    shown = gallery.real_images("all", images=8)
    assert shown is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dog", 0, 1.0, 4), "'dog'"),
        (("ant", -1, 1.0, 4), "-1"),
        (("ant", 0, 2.5, 4), "2.5"),
        (("ant", 0, 1.0, 65), "65"),
    ],
)
def test_bad_wishes_are_refused(gallery: Gallery, arguments: tuple[str, int, float, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        gallery.samples(*arguments)


def test_a_network_without_its_run_has_no_real_images(tmp_path: Path, real: ImageSet) -> None:
    make_generator().save_pretrained(tmp_path / "network")
    gallery = open_gallery(tmp_path / "network")
    assert gallery.real is None
    assert "--data" in gallery.without_real
    assert gallery.real_images("ant") is None
    assert open_gallery(tmp_path / "network", real).real_images("ant") is not None


def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["app", str(tmp_path / "nothing")]) == 2
    assert "nothing does not exist" in capsys.readouterr().err
    assert cli.main(["app", str(tmp_path), "--port", "0"]) == 2
    assert "--port: 0" in capsys.readouterr().err
    make_generator().save_pretrained(tmp_path / "network")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["app", str(tmp_path / "network")]) == 2
    assert "pip install 'gan_lt[app]'" in capsys.readouterr().err
