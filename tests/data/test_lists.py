"""Lists of images: ImageNet-LT's lines and COCO annotations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_lt.data import open_image_set
from gan_lt.data.lists import label_list
from tests.data.refusals import refused
from tests.data.shard_files import LEGIBLE

Make = Callable[..., Path]


@pytest.fixture
def images(make_folder: Make) -> Path:
    return make_folder({"a": 11, "b b": 2})


def test_lines_of_path_and_label(images: Path, tmp_path: Path) -> None:
    lines = ["./a/10.png 7", "a/2.png 7", "", "b b/1.png\t3", "a/0.png  3"]
    (images / "train.txt").write_text("\r\n".join(lines))
    (tmp_path / "train.txt").write_text("\n".join(lines))
    near, far = open_image_set(images / "train.txt"), open_image_set(tmp_path / "train.txt", data_root=images)
    for listed in (near, far):
        assert listed.class_names == ("3", "7")
        assert listed.ids == ("a/0.png", "b b/1.png", "a/2.png", "a/10.png")
        assert listed.labels.tolist() == [0, 0, 1, 1]
        folder = open_image_set(images)
        positions = [folder.ids.index(name) for name in listed.ids]
        assert np.array_equal(listed.images(), folder.images(positions))
    assert (near.name, near.fingerprint()) == ("train", far.fingerprint())


def test_one_image_has_one_name_however_it_is_written(images: Path) -> None:
    (images / "list.txt").write_text("././a/1.png 0\n  a//0.png 0\n\t.\\a\\2.png 1\n")
    assert open_image_set(images / "list.txt").ids == ("a/0.png", "a/1.png", "a/2.png")


def coco(labels: dict[str, int], names: list[str]) -> dict[str, Any]:
    return {
        "images": [{"id": 100 + i, "file_name": name, "width": 1} for i, name in enumerate(labels)],
        "annotations": [
            {"id": i, "image_id": 100 + i, "category_id": label} for i, label in enumerate(labels.values())
        ],
        "categories": [{"id": i, "name": name, "supercategory": "x"} for i, name in enumerate(names)],
    }


def test_coco_annotations(images: Path) -> None:
    file = images / "train2019.json"
    labels = {"a/1.png": 2, "b b/0.png": 0, "a/0.png": 2}
    file.write_text(json.dumps(coco(labels, ["owl", "elk", "ant"])))
    listed = open_image_set(file)
    assert listed.class_names == ("owl", "ant")  # no image is an elk
    assert listed.ids == ("b b/0.png", "a/0.png", "a/1.png")
    for odd in (["owl", "elk", "owl"], ["owl", "", "ant"], ["a/b", "c", "d"]):
        file.write_text(json.dumps(coco(labels, odd)))
        assert open_image_set(file).class_names == ("0", "2")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a/0.png", ["line 2", "'a/0.png'", "class index"]),
        ("a/0.png x", ["line 2", "class index"]),
        ("a/0.png -1", ["line 2", "class index"]),
        ("a/0.png 99999999999", ["line 2"]),
        ("a/0.png 9999999999", ["line 2", "label 9999999999"]),
        ("a/1.png 1", ["line 2", "listed twice"]),
        ("a/./1.png 1", ["line 2", "'a/./1.png'", "listed twice"]),
        (".//a//1.png 1", ["line 2", "listed twice"]),
        (" \ta\\1.png 1", ["line 2", "listed twice"]),
        ("a/../a/1.png 1", ["line 2", "leads out of"]),
        ("./C:/1.png 1", ["line 2", "leads out of"]),
        ("../set/a/0.png 1", ["line 2", "leads out of"]),
        ("/etc/a.png 1", ["line 2", "leads out of"]),
        ("..\\a.png 1", ["line 2", "leads out of"]),
        ("a/notes.doc 1", ["line 2", "a/notes.doc", ".png"]),
        ("a/77.png 1", ["1 of its 2 images", "a/77.png", "--data-root"]),
        ("c/0.png 1", ["the first is c/0.png"]),
        ("a/\x01.png 1", ["line 2", "printed"]),
        ("a/1.png\x00.png 1", ["line 2", "printed"]),
        ("a/\u202egnp.0.png 1", ["line 2", "printed"]),
    ],
)
def test_lines_that_do_not_fit_are_refused(images: Path, line: str, words: list[str]) -> None:
    (images / "list.txt").write_text(f"a/1.png 0\n{line}\n")
    refused(images / "list.txt", "list.txt", *words)


@pytest.mark.parametrize("name", LEGIBLE)
def test_names_with_blanks_and_emoji_are_listed(images: Path, name: str) -> None:
    (images / "a" / "0.png").rename(images / "a" / name)
    (images / "list.txt").write_text(f"a/{name} 0\na/1.png 1\n", encoding="utf-8")
    (images / "list.json").write_text(json.dumps(coco({f"a/{name}": 0, "a/1.png": 1}, ["owl", "elk"])))
    for listed in ("list.txt", "list.json"):
        assert open_image_set(images / listed).ids == (f"a/{name}", "a/1.png")


def test_other_lists_are_refused(images: Path, tmp_path: Path) -> None:
    file = images / "list.txt"
    file.write_text("\n")
    refused(file, "lists no images")
    file.write_bytes(b"\xff\xfe\x00")
    refused(file, "not UTF-8")
    file.write_text("a/0.png 0")
    refused(file, "--data-root", "not a folder", data_root=tmp_path / "nowhere")
    file = images / "list.json"
    for document, word in (
        ([], '"images"'),
        ({"images": [], "annotations": 3}, '"annotations"'),
        ({"images": [{"id": 1}], "annotations": []}, "file_name"),
        ({"images": [{"id": [], "file_name": "a"}], "annotations": []}, "file_name"),
        ({"images": [], "annotations": [{"image_id": 1, "category_id": 1}]}, "not in its images"),
        (
            {"images": [{"id": 1, "file_name": f"a/{i}.png"} for i in range(2)], "annotations": []},
            "two images have the id 1",
        ),
        (coco({"a/0.png": "x"}, []), "category_id 'x'"),  # type: ignore[dict-item]
        (coco({"a/0.png": -1}, []), "label -1"),
        (coco({"../x.png": 1}, []), "leads out"),
        (coco({"a/\ud800.png": 1}, []), "printed"),
        (coco({}, []), "lists no images"),
    ):
        file.write_text(json.dumps(document))
        refused(file, "list.json", word)
    file.write_text("{")
    refused(file, "not JSON")


def test_a_list_of_imagenet_lts_size_takes_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """115,846 images in 1,000 classes: every folder is looked into once, no image is."""
    from gan_lt.data import lists

    listed: list[Path] = []

    def listdir(folder: Path) -> list[str]:
        listed.append(folder)
        return [f"{folder.name}_{i}.JPEG" for i in range(1280)]

    monkeypatch.setattr(lists.os, "listdir", listdir)
    counts = np.linspace(5, 226.6, 1000).astype(int)
    counts[-1] += 115_846 - counts.sum()
    lines = [
        f"train/n{k:08d}/n{k:08d}_{i}.JPEG {k}"
        for k, count in enumerate(counts.tolist())
        for i in range(count)
    ]
    np.random.default_rng(0).shuffle(lines)
    (tmp_path / "ImageNet_LT_train.txt").write_text("\n".join(lines) + "\n")
    begin = time.process_time()
    _, labelled = label_list(tmp_path / "ImageNet_LT_train.txt", tmp_path, "--data")
    assert time.process_time() - begin < 15
    assert len(labelled.names) == 115_846
    assert np.bincount(labelled.labels).tolist() == counts.tolist()
    assert len(listed) == 1000
