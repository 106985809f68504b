"""Class names as a Mac writes them (NFD) are those that other systems write (NFC), whatever tells them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan_lt.data import ImageSet, open_image_set
from tests.data.refusals import refused
from tests.data.shard_files import png, write_shard

Make = Callable[..., Path]
NFC, NFD = "caf\u00e9", "cafe\u0301"


def test_folders_and_zips_from_a_mac_have_the_same_classes(make_folder: Make, make_zip: Make) -> None:
    root = make_folder({NFD: 2, "cafz": 1})
    described = {"labels": [[f"{NFD}/0.png", 1], [f"{NFD}/1.png", 1], ["cafz/0.png", 0]]}
    names = {"class_names": ["cafz", NFD]}
    order = ("cafz", NFC)
    assert (
        open_image_set(root).class_names
        == open_image_set(make_folder({NFC: 2, "cafz": 1}, name="here")).class_names
    )
    assert open_image_set(root).class_names == open_image_set(make_zip(root)).class_names == ("cafz", NFC)
    assert open_image_set(make_zip(root, described)).class_names == order, "called after their folders"
    assert open_image_set(make_zip(root, described | names)).class_names == order


def test_lists_and_shards_from_a_mac_have_the_same_classes(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 1})
    document = {
        "images": [{"id": 1, "file_name": "a/0.png"}],
        "annotations": [{"image_id": 1, "category_id": 0}],
        "categories": [{"id": 0, "name": NFD}],
    }
    (root / "list.json").write_text(json.dumps(document))
    assert open_image_set(root / "list.json").class_names == (NFC,)

    facts = [{"label": 0, "class_name": name} for name in (NFD, NFC)]
    files = {f"{i}.json": json.dumps(fact).encode() for i, fact in enumerate(facts)}
    both = {
        name: data
        for i in range(2)
        for name, data in ((f"{i}.json", files[f"{i}.json"]), (f"{i}.png", png(i)))
    }
    shard = write_shard(tmp_path / "told" / "0.tar", both)
    assert open_image_set(shard).class_names == (NFC,), "one class, though two systems wrote its name"
    shard = write_shard(tmp_path / "folders" / "0.tar", {f"{NFD}/0.png": png(0), "cafz/1.png": png(1)})
    assert open_image_set(shard).class_names == ("cafz", NFC)


def test_the_order_of_classes_is_that_of_their_composed_names(make_folder: Make) -> None:
    # "e" with its mark apart sorts before "f", "é" after "z"
    mac, here = make_folder({NFD: 1, "caff": 1}), make_folder({NFC: 1, "caff": 1}, name="here")
    assert open_image_set(mac).class_names == open_image_set(here).class_names == ("caff", NFC)


def test_classes_that_differ_by_their_form_alone_are_refused(make_folder: Make, make_zip: Make) -> None:
    root = make_folder({NFC: 1, NFD: 1})
    if len(list(root.iterdir())) < 2:
        pytest.skip("this file system takes both for one folder")
    words = (repr(NFC), ascii(NFC), ascii(NFD), "Unicode form", "rename one")
    refused(root, *words)
    refused(make_zip(root), *words)
    labels = {"labels": [[f"{NFC}/0.png", 0], [f"{NFD}/0.png", 1]]}
    refused(make_zip(root, labels), *words)


def test_names_given_from_python_are_composed() -> None:
    images = np.zeros((1, 1, 8, 8), dtype=np.uint8)
    assert ImageSet.from_arrays(images, [0], [NFD]).class_names == (NFC,)
