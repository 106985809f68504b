"""Selection: what is kept, what is refused and why, and that the split of the work plays no part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_lt.classifier import Classifier
from gan_lt.commands import generate_command
from gan_lt.data import ImageSet, open_image_set
from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator
from gan_lt.sampling import Selection, image_seeds, plan_per_class, sample_images, write_synthetic_set
from gan_lt.sampling.judges import ClassifierJudge, DiscriminatorJudge
from gan_lt.sampling.nearness import Originals, TrainingCopies, pixel_points

MakeGenerator = Callable[..., Generator]
Digests = Callable[[Path], dict[str, str]]
NAMES = ("ant", "bee", "cow")


@pytest.fixture
def classifier() -> Classifier:
    """Untrained, but of different mind about different images; its classes stand in another order."""
    torch.manual_seed(1)
    network = Classifier(
        3, resolution=8, img_channels=1, class_names=["cow", "ant", "bee"], class_counts=[5, 40, 15]
    )
    with (
        torch.no_grad()
    ):  # untrained features hardly differ between images; the running statistics spread them
        network.train()
        for _ in range(20):
            network(torch.rand(64, 1, 8, 8) * 2 - 1)
    return network.eval()


def images_of(G: Generator, label: int, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    labels = np.full(count, label)
    return sample_images(G, labels, image_seeds(0, labels, np.arange(count)))


def manifest_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "manifest.json").read_text()))


def test_the_best_by_the_classifier_are_kept(
    tmp_path: Path, make_generator: MakeGenerator, classifier: Classifier
) -> None:
    G = make_generator()
    chosen = Selection(keep_best=0.3, score="classifier", classifier=classifier)
    write_synthetic_set(G, plan_per_class(G, 30), tmp_path / "out", selection=chosen)
    opened = open_image_set(tmp_path / "out")
    for label in range(3):
        candidates = images_of(G, label, 100)
        scores = ClassifierJudge(classifier, G, NAMES).probabilities(candidates)[:, label]
        best = np.sort(np.argsort(-scores, kind="stable")[:30])
        assert np.array_equal(opened.images(opened.labels == label), candidates[best])
    entries = manifest_of(tmp_path / "out")["classes"]
    assert [(e["made"], e["wanted"], e["drawn"], e["refused"]) for e in entries] == [(30, 30, 100, 70)] * 3
    assert entries[0]["refused_because"] == {"score": 70}


def test_classifier_probabilities_are_by_name(make_generator: MakeGenerator, classifier: Classifier) -> None:
    G = make_generator()
    images = images_of(G, 0, 70)
    with torch.inference_mode():
        own = classifier(torch.from_numpy(images) / 127.5 - 1).softmax(dim=1).numpy()
    judge = ClassifierJudge(classifier, G, NAMES)
    np.testing.assert_allclose(judge.probabilities(images), own[:, [1, 2, 0]], rtol=1e-4, atol=1e-6)
    assert np.array_equal(judge.probabilities(images)[3:40], judge.probabilities(images[3:40]))


def test_a_discriminator_scores_each_image_for_itself(make_generator: MakeGenerator) -> None:
    G = make_generator()
    torch.manual_seed(2)
    D = Discriminator(3, 8, 1, channel_max=8, mapping_layers=1)
    judge = DiscriminatorJudge(D, G)
    images, labels = images_of(G, 1, 90), np.full(90, 1)
    scores = judge.scores(images, labels)
    order = np.random.default_rng(0).permutation(90)
    assert np.array_equal(judge.scores(images[order], labels), scores[order])
    assert np.array_equal(judge.scores(images[:1], labels[:1]), scores[:1])
    with torch.inference_mode():  # close to what D says of whole batches, where its own layer compares images
        batch = D.eval()(torch.from_numpy(images[:64]) / 127.5 - 1, torch.from_numpy(labels[:64])).numpy()
    assert np.corrcoef(batch, scores[:64])[0, 1] > 0.9
    assert D.minibatch_std is not None
    assert type(D.minibatch_std).__name__ == "MinibatchStd"  # the caller's network is untouched


def test_copies_are_refused_and_replaced(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G = make_generator()
    rng = np.random.default_rng(0)
    stolen = images_of(G, 2, 10)[[1, 4]]  # what the network "memorized"
    noise = rng.integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
    training = ImageSet.from_arrays(
        np.concatenate([noise, stolen]), np.array([0] * 10 + [1] * 10 + [2] * 12), NAMES, name="mine"
    )
    known = TrainingCopies(training, NAMES)
    found = known.find(pixel_points(images_of(G, 2, 10)), np.full(10, 2))
    assert found[[1, 4]].all()
    choice = Selection(drop_copies=True, training=training)
    write_synthetic_set(G, plan_per_class(G, 8), tmp_path / "out", selection=choice)
    entry = manifest_of(tmp_path / "out")["classes"][2]
    refused = entry["refused_because"]["copy"]
    assert refused >= 2
    assert entry["drawn"] == 8 + refused
    opened = open_image_set(tmp_path / "out")
    kept = opened.images(opened.labels == 2)
    assert len(kept) == 8
    for image in stolen:
        assert not (kept == image).all(axis=(1, 2, 3)).any()


def test_duplicates_are_found_against_all_kept_before() -> None:
    points = np.array([[0.1, 0.1], [0.1, 0.12], [0.5, 0.5], [0.1, 0.14], [0.5, 0.5]], dtype=np.float32)
    originals = Originals(0.03, 10)
    # the fourth is near the second, which was refused, but not near the first
    assert originals.accept(points, 10).tolist() == [True, False, True, True, False]
    assert originals.accept(points + np.float32(0.001), 10).tolist() == [False] * 5
    assert originals.accept(np.array([[0.9, 0.9], [0.7, 0.7]], dtype=np.float32), 1).tolist() == [True, False]


def test_duplicates_of_a_collapsed_class_run_into_the_limit(
    tmp_path: Path, make_generator: MakeGenerator
) -> None:
    G = make_generator()
    choice = Selection(drop_duplicates=0.2, max_tries=4)
    written = write_synthetic_set(
        G, plan_per_class(G, 40), tmp_path / "out", selection=choice, truncation_psi={"bee": 0.0}
    )
    assert written.short["bee"] == 39
    entry = manifest_of(tmp_path / "out")["classes"][1]
    assert (entry["made"], entry["drawn"], entry["refused_because"]) == (1, 160, {"duplicate": 159})
    opened = open_image_set(tmp_path / "out")
    for label in range(3):
        points = pixel_points(opened.images(opened.labels == label)).astype(np.float64)
        apart = np.sqrt(((points[:, None] - points[None]) ** 2).mean(axis=2)) + np.eye(len(points))
        assert apart.min() >= 0.2


def test_unconditional_images_are_sorted_by_verdict(
    tmp_path: Path, make_generator: MakeGenerator, classifier: Classifier
) -> None:
    G = make_generator(num_classes=0)
    plan = plan_per_class(G, 20, classifier=classifier)
    assert plan.class_names == ("cow", "ant", "bee")
    written = write_synthetic_set(
        G, plan, tmp_path / "out", selection=Selection(classifier=classifier, max_tries=50)
    )
    opened = open_image_set(tmp_path / "out")
    judge = ClassifierJudge(classifier, G)
    names = [opened.class_names[k] for k in opened.labels]
    seen = judge.probabilities(opened.images()).argmax(axis=1)
    assert [judge.class_names[k] for k in seen] == names
    document = manifest_of(tmp_path / "out")
    drawn = sum(entry["drawn"] for entry in document["classes"])
    made = sum(entry["made"] for entry in document["classes"])
    refused = sum(entry["refused"] for entry in document["classes"])
    assert drawn == made + refused
    assert made == 60 - sum(written.short.values())
    # the first of the stream with this verdict, in the stream's order
    zeros = np.zeros(drawn, dtype=np.int64)
    stream = sample_images(G, zeros, image_seeds(0, zeros, np.arange(drawn)))
    verdicts = judge.probabilities(stream).argmax(axis=1)
    for k, name in enumerate(judge.class_names):
        expected = stream[verdicts == k][:20]
        label = opened.class_names.index(name) if name in opened.class_names else -1
        assert np.array_equal(opened.images(opened.labels == label), expected)
    if not written.short:
        assert (verdicts == verdicts[-1]).sum() == 20  # it stopped with the last one wanted


def test_the_same_bytes_whatever_the_block_of_candidates(
    tmp_path: Path,
    make_generator: MakeGenerator,
    digests: Digests,
    monkeypatch: pytest.MonkeyPatch,
    classifier: Classifier,
) -> None:
    G = make_generator()
    choice = Selection(
        keep_best=0.5, score="classifier", classifier=classifier, drop_duplicates=0.1, max_tries=6
    )
    write_synthetic_set(G, plan_per_class(G, 25), tmp_path / "a", selection=choice)
    for module in ("selection", "candidates"):
        monkeypatch.setattr(f"gan_lt.sampling.{module}.CHUNK", 16)
    write_synthetic_set(G, plan_per_class(G, 25), tmp_path / "b", selection=choice)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"keep_best": 0.0}, "--keep-best: 0.0"),
        ({"keep_best": 1.5}, "--keep-best: 1.5"),
        ({"keep_best": 0.5}, "needs --score"),
        ({"score": "luck"}, "'luck'"),
        ({"score": "classifier"}, "--classifier"),
        ({"score": "discriminator"}, "discriminator"),
        ({"drop_copies": True}, "--train-data"),
        ({"drop_duplicates": 0.0}, "--drop-duplicates: 0.0"),
        ({"max_tries": 0}, "--max-tries: 0"),
    ],
)
def test_bad_selections_are_named(settings: dict[str, Any], value: str) -> None:
    with pytest.raises(InputError, match=value):
        Selection(**settings)


def test_judges_that_do_not_fit_are_named(make_generator: MakeGenerator, classifier: Classifier) -> None:
    with pytest.raises(InputError, match=r"8x8x1 images, the network makes 16x16x1"):
        ClassifierJudge(classifier, make_generator(resolution=16))
    with pytest.raises(InputError, match="'elk' is in the network only"):
        ClassifierJudge(classifier, make_generator(), ("ant", "bee", "cow", "elk"))
    one = ImageSet.from_arrays(np.zeros((3, 1, 8, 8), dtype=np.uint8), np.arange(3), NAMES, name="mine")
    with pytest.raises(InputError, match=r"--drop-copies: class 'ant' of mine: train has 1 different"):
        TrainingCopies(one, NAMES).threshold(0)


def test_the_command_says_which_classes_fell_short(
    tmp_path: Path, make_generator: MakeGenerator, classifier: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    make_generator(num_classes=0).save_pretrained(tmp_path / "network")
    classifier.save_pretrained(tmp_path / "judge")
    common = ["--network", str(tmp_path / "network"), "--per-class", "200", "--outdir", str(tmp_path / "out")]
    with pytest.raises(InputError, match="pass --classifier FILE"):
        generate_command(common)
    judged = [*common, "--classifier", str(tmp_path / "judge" / "model.safetensors"), "--max-tries", "1"]
    assert generate_command(judged) == 3
    message = capsys.readouterr().err
    assert "lacks" in message
    classes = manifest_of(tmp_path / "out")["classes"]
    assert sum(entry["drawn"] for entry in classes) == 600
    assert any(entry["made"] < 200 for entry in classes)
