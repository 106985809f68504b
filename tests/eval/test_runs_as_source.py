"""A saved generator and a run as sources: sampled on the fly, repeatable, with the run's own training set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eval import EvaluationOptions, Report, evaluate
from eval.sources import ImageSource, SourceOptions, open_source
from eval.training_set import training_set_of_run
from gan_lt.config import build_config, dump_yaml
from gan_lt.errors import InputError
from gan_lt.models import Generator

FAKE = SourceOptions("--fake", num_fake=6)
NAMES = tuple(str(k) for k in range(10))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as training writes it, with an untrained network of the least size."""
    folder = tmp_path_factory.mktemp("runs") / "00000-digits"
    torch.manual_seed(0)
    generator = Generator(
        z_dim=8,
        num_classes=10,
        w_dim=8,
        resolution=16,
        img_channels=1,
        channel_base=64,
        channel_max=8,
        mapping_layers=1,
        class_names=NAMES,
        class_counts=[124, 88, 63, 45, 32, 23, 16, 12, 8, 6],
    )
    generator.save_pretrained(folder / "network")
    config = build_config("custom", {"data.path": "digits", "data.imbalance": 20})
    (folder / "config.yaml").write_text(dump_yaml(config))
    return folder


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), 4, 4, 4, 4).mean((2, 4)).reshape(len(images), 16)


def test_a_run_and_its_network_are_the_same_images(run: Path) -> None:
    a, b = open_source(run, FAKE), open_source(run / "network", FAKE)
    assert (a.kind, a.class_names, a.channels, a.resolution) == ("generator", NAMES, 1, 16)
    assert a.counts.tolist() == [6] * 10
    np.testing.assert_array_equal(a.read(np.arange(60)), b.read(np.arange(60)))
    assert a.fingerprint() == b.fingerprint()


def test_more_images_keep_the_first_ones_and_a_seed_changes_them(run: Path) -> None:
    few = open_source(run, FAKE)
    many = open_source(run, SourceOptions("--fake", num_fake=9))
    other = open_source(run, SourceOptions("--fake", num_fake=6, seed=1))
    for label in (0, 9):
        first = few.read(few.of_class(label))
        np.testing.assert_array_equal(first, many.read(many.of_class(label)[:6]))
        assert (first != other.read(other.of_class(label))).any()
    assert len({few.fingerprint(), many.fingerprint(), other.fingerprint()}) == 3


def test_as_many_images_as_the_reference_has(run: Path) -> None:
    reference = open_source("digits", SourceOptions("--real"))
    assert open_source(run, SourceOptions("--fake"), reference).counts.tolist() == [50] * 10
    with pytest.raises(InputError, match="--num-fake"):
        open_source(run, SourceOptions("--fake"))
    with pytest.raises(InputError, match="--num-fake is 1"):
        open_source(run, SourceOptions("--fake", num_fake=1))


def test_evaluating_a_run_finds_its_training_set(run: Path) -> None:
    report = evaluate(
        "digits", run, flat, "ifid,memorization", num_fake=12, options=EvaluationOptions(replicates=0)
    )
    assert [row["n_train"] for row in report.per_class] == [124, 88, 63, 45, 32, 23, 16, 12, 8, 6]
    assert {row["n_fake"] for row in report.per_class} == {12}
    assert report.metrics["memorization"] == 0, "noise is no copy"


def test_training_set_is_thinned_out_as_in_training(run: Path) -> None:
    source = training_set_of_run(run)
    assert isinstance(source, ImageSource)
    assert source.counts.max() / source.counts.min() == pytest.approx(20, rel=0.2)
    np.testing.assert_array_equal(source.labels, training_set_of_run(run).labels)


def test_a_run_whose_data_moved_can_still_be_evaluated(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (moved / "network").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (moved / "network" / name).write_bytes((run / "network" / name).read_bytes())
    (moved / "config.yaml").write_text(dump_yaml(build_config("custom", {"data.path": "gone/away"})))
    options = EvaluationOptions(replicates=0)
    report = evaluate("digits", moved, flat, num_fake=8, options=options)
    assert "memorization" not in report.metrics
    assert any("gone/away" in warning for warning in report.warnings)
    with pytest.raises(InputError, match="gone/away"):
        evaluate("digits", moved, flat, "memorization", num_fake=8, options=options)


def test_a_run_without_a_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "stats.jsonl").write_text("")
    with pytest.raises(InputError, match="run without a network"):
        open_source(tmp_path, FAKE)


def test_a_class_of_one_training_image_leaves_out_its_memorization_alone(run: Path, tmp_path: Path) -> None:
    one = tmp_path / "run"
    one.mkdir()
    (one / "network").symlink_to(run / "network")
    (one / "config.yaml").write_text(
        dump_yaml(build_config("custom", {"data.path": "digits", "data.imbalance": 100}))
    )
    report = evaluate("digits", one, flat, "fid,memorization", num_fake=6, resolution=16)
    shares = [row["memorization"] for row in report.per_class]
    assert [share is None for share in shares] == [False] * 9 + [True]
    assert report.metrics["fid"] is not None
    assert any("not measured for 9: fewer than 2" in line for line in report.warnings)


def test_a_report_of_two_or_three_images_a_class_is_read_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3):
        real, fake = (rng.integers(0, 256, (2 * n, 1, 16, 16), dtype=np.uint8) for _ in range(2))
        labels = np.repeat([0, 1], n)
        options = EvaluationOptions(k=1, replicates=200)
        file = tmp_path / f"{n}.json"
        report = evaluate(
            (real, labels), (fake, labels), flat, "fid,kid,prdc,ifid", options=options, json=file
        )
        assert Report.from_json(file).metrics == report.metrics
        assert ("intra_kid" in report.intervals) == (n > 2)


def test_a_generator_without_classes_is_refused_although_its_run_knew_class_names(tmp_path: Path) -> None:
    sizes = {
        "z_dim": 8,
        "w_dim": 8,
        "resolution": 16,
        "img_channels": 1,
        "channel_base": 64,
        "channel_max": 8,
    }
    Generator(num_classes=0, class_names=NAMES, **sizes).save_pretrained(tmp_path / "network")
    with pytest.raises(InputError, match="the generator has no classes"):
        open_source(tmp_path / "network", FAKE)
