"""Synthetic sets: how many of what, the bytes on disk, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_lt.data import ImageSet, open_image_set
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import (
    find_network,
    image_seeds,
    load_generator,
    parse_truncation,
    plan_from_file,
    plan_per_class,
    plan_top_up,
    sample_images,
    write_synthetic_set,
)
from gan_lt.sampling.balanced import class_counts
from gan_lt.sampling.images import CHUNK
from gan_lt.sampling.truncation import psi_per_class

MakeGenerator = Callable[..., Generator]
Digests = Callable[[Path], dict[str, str]]


def image_set(counts: list[int], names: list[str]) -> ImageSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    return ImageSet.from_arrays(np.zeros((len(labels), 1, 8, 8), dtype=np.uint8), labels, names, name="mine")


def test_same_arguments_same_bytes(tmp_path: Path, make_generator: MakeGenerator, digests: Digests) -> None:
    G = make_generator()
    plan = plan_per_class(G, 5)
    for name in ("a", "b"):
        write_synthetic_set(G, plan, tmp_path / name, seed=3, truncation_psi=0.7, network_sha256="f00")
        write_synthetic_set(G, plan, tmp_path / f"{name}.zip", seed=3, set_format="zip")
        torch.manual_seed(9)
    first = digests(tmp_path / "a")
    assert len(first) == 16
    assert len(set(first.values())) == 16
    assert first == digests(tmp_path / "b")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    write_synthetic_set(G, plan, tmp_path / "c", seed=4, truncation_psi=0.7)
    other = digests(tmp_path / "c")
    assert not set(first.values()) & set(other.values())


def test_more_images_and_fewer_classes_keep_the_images(
    tmp_path: Path, make_generator: MakeGenerator, digests: Digests
) -> None:
    G = make_generator()
    write_synthetic_set(G, plan_per_class(G, 4), tmp_path / "few")
    write_synthetic_set(G, plan_per_class(G, 4 * CHUNK, ["bee", "cow"]), tmp_path / "many")
    few, many = digests(tmp_path / "few"), digests(tmp_path / "many")
    assert len(many) == 8 * CHUNK + 1
    kept = [name for name in few if name.startswith(("bee/", "cow/"))]
    assert len(kept) == 8
    assert all(many[name] == few[name] for name in kept)
    assert not (tmp_path / "many" / "ant").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_both_formats_hold_what_was_sampled(
    tmp_path: Path, make_generator: MakeGenerator, channels: int
) -> None:
    G = make_generator(img_channels=channels)
    plan = plan_per_class(G, 3)
    write_synthetic_set(G, plan, tmp_path / "set", seed=2)
    write_synthetic_set(G, plan, tmp_path / "set.zip", seed=2, set_format="zip")
    expected = sample_images(G, plan.labels, image_seeds(2, plan.labels, plan.indices))
    for path in ("set", "set.zip"):
        opened = open_image_set(tmp_path / path)
        assert opened.class_names == ("ant", "bee", "cow")
        assert opened.channels == channels
        assert opened.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
        assert np.array_equal(opened.images(), expected)


def test_a_zip_of_some_classes_opens(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    write_synthetic_set(G, plan_per_class(G, 2, ["cow", "ant"]), tmp_path / "s.zip", set_format="zip")
    opened = open_image_set(tmp_path / "s.zip")
    assert opened.class_names == ("ant", "cow")
    assert opened.counts.tolist() == [2, 2]


def test_manifest(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    data = image_set([3, 5, 1], ["ant", "bee", "cow"])
    write_synthetic_set(
        G, plan_top_up(G, data), tmp_path / "set", seed=1, truncation_psi=0.5, network_sha256="ab12"
    )
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (manifest["seed"], manifest["truncation_psi"], manifest["network_sha256"]) == (1, 0.5, "ab12")
    assert manifest["classes"] == [
        {"name": "ant", "real": 3, "made": 2, "refused": 0},
        {"name": "bee", "real": 5, "made": 0, "refused": 0},
        {"name": "cow", "real": 1, "made": 4, "refused": 0},
    ]
    assert len(manifest["images"]) == 6
    for entry in manifest["images"]:
        assert entry["file"].split("/")[0] == entry["class"]
        label = G.class_names.index(entry["class"])
        (made,) = sample_images(G, [label], [entry["seed"]], entry["truncation_psi"])
        with Image.open(tmp_path / "set" / entry["file"]) as image:
            assert np.array_equal(np.asarray(image), made[0])


@pytest.mark.parametrize(
    ("to", "classes", "made"),
    [
        (None, None, [2, 0, 4]),
        (7, None, [4, 2, 6]),
        (3, None, [0, 0, 2]),
        (None, ["cow"], [0, 0, 4]),
    ],
)
def test_top_up_levels_exactly(
    make_generator: MakeGenerator, to: int | None, classes: list[str] | None, made: list[int]
) -> None:
    plan = plan_top_up(make_generator(), image_set([3, 5, 1], ["ant", "bee", "cow"]), to, classes)
    assert plan.counts.tolist() == made
    assert plan.real_counts == (3, 5, 1)


def test_top_up_goes_by_the_names_of_classes(make_generator: MakeGenerator) -> None:
    plan = plan_top_up(make_generator(), image_set([1, 3, 5], ["cow", "ant", "bee"]))
    assert plan.counts.tolist() == [2, 0, 4]
    assert plan.real_counts == (3, 5, 1)


@pytest.mark.parametrize("names", [["ant", "bee"], ["ant", "bee", "cow", "dog"], ["ant", "bee", "elk"]])
def test_top_up_of_other_classes_is_refused(make_generator: MakeGenerator, names: list[str]) -> None:
    with pytest.raises(InputError, match=r"class '(cow|dog|elk)' is in the (data|network) only"):
        plan_top_up(make_generator(), image_set([1] * len(names), names))


def test_nothing_to_make(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    plan = plan_top_up(G, image_set([2, 2, 2], ["ant", "bee", "cow"]))
    with pytest.raises(InputError, match="nothing to make"):
        write_synthetic_set(G, plan, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_counts_from_a_file(tmp_path: Path, make_generator: MakeGenerator) -> None:
    file = tmp_path / "counts.json"
    file.write_text('{"cow": 4, "ant": 0}')
    assert plan_from_file(make_generator(), file).counts.tolist() == [0, 0, 4]


def test_names_typed_on_a_mac_are_the_networks(tmp_path: Path, make_generator: MakeGenerator) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    file = tmp_path / "counts.json"
    for own, asked in ((composed, decomposed), (decomposed, composed)):
        G = make_generator(class_names=["ant", own, "cow"])
        plan = plan_per_class(G, 2, [asked])
        assert (plan.class_names[1], plan.counts.tolist()) == (composed, [0, 2, 0])
        file.write_text(json.dumps({asked: 3}))
        assert plan_from_file(G, file).counts.tolist() == [0, 3, 0]
        assert psi_per_class(parse_truncation(f"{asked}=0.5"), plan.class_names).tolist() == [1, 0.5, 1]
        assert psi_per_class({asked: 0.5}, G.class_names).tolist() == [1, 0.5, 1]
        assert class_counts(G, {asked: 4}).tolist() == [0, 4, 0]
        data = image_set([5, 1, 3], ["ant", asked, "cow"])
        assert plan_top_up(G, data).counts.tolist() == [0, 4, 2]
    file.write_text(json.dumps({composed: 3, decomposed: 3}))
    with pytest.raises(InputError, match="two Unicode forms"):
        plan_from_file(G, file)


def test_counts_that_are_not_there_are_named(tmp_path: Path, make_generator: MakeGenerator) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json can.t be read \(No such file"):
        plan_from_file(make_generator(), tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{", "is not JSON"),
        ("[3]", "list"),
        ('{"elk": 2}', "'elk'"),
        ('{"ant": -2}', "-2"),
        ('{"ant": 2.5}', "2.5"),
        ('{"ant": "3"}', "'3'"),
        ('{"ant": true}', "True"),
        ("\xff\xfe", "JSON"),
    ],
)
def test_bad_counts_are_named(tmp_path: Path, make_generator: MakeGenerator, text: str, value: str) -> None:
    file = tmp_path / "counts.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=value) as caught:
        plan_from_file(make_generator(), file)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"absent\.json"):
        plan_from_file(make_generator(), tmp_path / "absent.json")


def test_bad_plans_are_named(make_generator: MakeGenerator) -> None:
    G = make_generator()
    with pytest.raises(InputError, match=r"'elk'.*ant, bee, cow"):
        plan_per_class(G, 3, ["ant", "elk"])
    level = image_set([1, 1, 1], ["ant", "bee", "cow"])
    for number in (0, -2, 2.5, True):
        with pytest.raises(InputError, match=f"--per-class: {number} must be a whole number"):
            plan_per_class(G, number)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=f"--to: {number} must be a whole number"):
            plan_top_up(G, level, to=number)  # type: ignore[arg-type]
    for number in (2**28 + 1, 10**12, 2**60):
        with pytest.raises(InputError, match=f"--per-class: {number} .*; 268435456 of a class are the most"):
            plan_per_class(G, number)
        with pytest.raises(InputError, match=f"--to: {number} .*; 268435456 of a class are the most"):
            plan_top_up(G, level, to=number)
    with pytest.raises(InputError, match="--to: 0"):
        plan_top_up(G, image_set([1, 1, 1], ["ant", "bee", "cow"]), to=0)
    with pytest.raises(InputError, match="unconditional"):
        plan_per_class(make_generator(num_classes=0, class_names=None, class_counts=None), 3)


def test_existing_output_is_refused_and_untouched(
    tmp_path: Path, make_generator: MakeGenerator, digests: Digests
) -> None:
    G = make_generator()
    plan = plan_per_class(G, 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = digests(tmp_path)
    for name in ("full", "file"):
        with pytest.raises(InputError, match=name):
            write_synthetic_set(G, plan, tmp_path / name)
    assert digests(tmp_path) == before
    (tmp_path / "empty").mkdir()
    write_synthetic_set(G, plan, tmp_path / "empty")
    assert open_image_set(tmp_path / "empty").counts.tolist() == [2, 2, 2]


@pytest.mark.parametrize("set_format", ["folder", "zip"])
def test_a_place_that_cannot_be_written(
    tmp_path: Path, make_generator: MakeGenerator, set_format: Any, digests: Digests
) -> None:
    G = make_generator()
    (tmp_path / "file").write_text("mine")
    for out in ("file/set", "file/deep/set"):
        with pytest.raises(InputError, match="can't be written") as caught:
            write_synthetic_set(G, plan_per_class(G, 2), tmp_path / out, set_format=set_format)
        assert "\n" not in str(caught.value)
    assert list(digests(tmp_path)) == ["file"]


@pytest.mark.parametrize("set_format", ["folder", "zip", "webdataset"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_made_survives_a_full_disk_and_an_interruption(
    tmp_path: Path,
    make_generator: MakeGenerator,
    digests: Digests,
    set_format: Any,
    error: BaseException,
) -> None:
    G = make_generator()
    plan = plan_per_class(G, 3 * CHUNK)
    write_synthetic_set(G, plan, tmp_path / "whole", set_format=set_format)
    written = 0

    def fail_half_way(n: int) -> None:
        nonlocal written
        written += n
        if written > 4 * CHUNK:
            raise error

    expected = InputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_synthetic_set(G, plan, tmp_path / "out", set_format=set_format, progress=fail_half_way)
    assert not (tmp_path / "out").exists()
    sampled: list[int] = []
    there: list[int] = []
    write_synthetic_set(
        G,
        plan,
        tmp_path / "out",
        set_format=set_format,
        progress=sampled.append,
        stage=lambda what, total, done: there.append(done),
    )
    assert there[0] >= written
    assert sum(sampled) == 9 * CHUNK - there[0]
    if set_format == "zip":
        assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_a_failure_before_the_first_image_leaves_nothing_behind(
    tmp_path: Path, make_generator: MakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    G = make_generator()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan_lt.sampling.set_formats.write_whole", full)
    for set_format in ("folder", "zip", "webdataset"):
        with pytest.raises(InputError, match="No space left on device"):
            write_synthetic_set(G, plan_per_class(G, 4), tmp_path / "out", set_format=set_format)
        assert not list(tmp_path.iterdir())


def test_another_request_over_an_unfinished_set_is_refused(
    tmp_path: Path, make_generator: MakeGenerator, digests: Digests
) -> None:
    G = make_generator()

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic_set(G, plan_per_class(G, 3), tmp_path / "out", seed=1, progress=stop)
    before = digests(tmp_path)
    with pytest.raises(InputError, match=r"unfinished, from another command \(seed 1 there, 2 here\)"):
        write_synthetic_set(G, plan_per_class(G, 3), tmp_path / "out", seed=2)
    with pytest.raises(InputError, match="counts"):
        write_synthetic_set(G, plan_per_class(G, 4), tmp_path / "out", seed=1)
    with pytest.raises(InputError, match='format "folder" there, "zip" here'):
        write_synthetic_set(G, plan_per_class(G, 3), tmp_path / "out", seed=1, set_format="zip")
    other = make_generator(z_dim=16)
    with pytest.raises(InputError, match="network"):
        write_synthetic_set(other, plan_per_class(other, 3), tmp_path / "out", seed=1)
    assert digests(tmp_path) == before


def test_two_writers_of_one_set_are_kept_apart(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    refusals: list[str] = []

    def meddle(_: int) -> None:
        with pytest.raises(InputError, match="another process") as caught:
            write_synthetic_set(G, plan_per_class(G, 3), tmp_path / "out")
        refusals.append(str(caught.value))

    write_synthetic_set(G, plan_per_class(G, 3), tmp_path / "out", progress=meddle)
    assert refusals
    assert open_image_set(tmp_path / "out").counts.tolist() == [3, 3, 3]


@pytest.mark.parametrize("psi", [-0.1, 2.5, float("nan"), True])
def test_bad_truncation_is_named(tmp_path: Path, make_generator: MakeGenerator, psi: float) -> None:
    G = make_generator()
    with pytest.raises(InputError, match=f"--truncation: {psi}"):
        write_synthetic_set(G, plan_per_class(G, 2), tmp_path / "out", truncation_psi=psi)
    assert not list(tmp_path.iterdir())


def test_networks_are_found_by_run_folder_and_file(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    network = tmp_path / "run" / "network"
    G.save_pretrained(network)
    for name in ("run", "run/network", "run/network/model.safetensors", "run/network/config.json"):
        assert find_network(tmp_path / name) == network
    assert find_network(str(tmp_path / "run")) == network
    with pytest.raises(
        InputError, match=r"run: no config.json there.*pass .*run/network, which this run saved"
    ):
        Generator.from_pretrained(tmp_path / "run")
    loaded, digest = load_generator(str(tmp_path / "run"))
    assert loaded.class_names == G.class_names
    assert len(digest) == 64
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "config.yaml").write_text("")
    (tmp_path / "weights.pkl").write_text("")
    (tmp_path / "other").mkdir()
    for name, what in [
        ("absent", "does not exist"),
        ("young", "--resume"),
        ("weights.pkl", "not a model.safetensors"),
        ("other", "no saved network"),
    ]:
        with pytest.raises(InputError, match=what) as caught:
            find_network(tmp_path / name)
        assert name in str(caught.value)
