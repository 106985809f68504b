"""Measuring a cell: every generator by the same judge, on the same reference, with equally many images; once."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from eval import EvaluationOptions, evaluate
from eval.alignment import align
from eval.atomic_file import write_text
from eval.extraction import extract_features
from eval.extractors.base import ExtractorContext
from eval.extractors.classifier import (
    MAX_RESOLUTION,
    ClassifierExtractor,
    SmallConvNet,
    read_resized,
    train_classifier,
)
from eval.feature_matrix import FloatArray
from eval.manifold import prdc, squared_distances
from eval.sources import ImageSource, source_of_set
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import load_generator, plan_per_class, sample_images
from gan_lt.sampling.images import latents_from_seeds
from gan_lt.sampling.plan import image_seeds

METRICS = ("fid", "prdc", "ifid", "balance", "memorization")
RANK_SAMPLES = 512
_VERSION = 2  # of what is measured: a new one makes every cached evaluation old
_CLASSES_AT_ONCE = 64
_EVALUATION_SEED = 0

Result = dict[str, Any]


@dataclass(frozen=True)
class Judge:
    """The reference (balanced test images), the training images and the classifier fitted on the reference.

    per_class: images to make of every class. real_features: [n, D] of the reference, by class name.
    device: where generators sample.
    """

    reference: ImageSource
    train: ImageSet
    extractor: ClassifierExtractor
    per_class: int
    real_features: Mapping[str, FloatArray]
    device: torch.device

    def key(self, made: str) -> dict[str, Any]:
        """What a cached evaluation of the images or network with digest `made` depends on."""
        return {
            "version": _VERSION,
            "made": made,
            "reference": self.reference.fingerprint(),
            "train": self.train.fingerprint(),
            "judge": self.extractor.weights_hash,
            "per_class": self.per_class,
        }


def open_judge(
    reference: ImageSource, train: ImageSet, per_class: int, outdir: Path, device: torch.device | str = "cpu"
) -> Judge:
    """The judge of the grid in `outdir`; its classifier is fitted there once and kept.

    Raises:
        InputError: classes that the reference and the training images do not share, fewer than 6 images a class.
    """
    if per_class < 6:
        raise InputError(
            f"--per-class: {per_class} must be 6 or more: neighbours are counted up to the fifth"
        )
    # a mismatch has to show before hours of training
    align(reference, source_of_set(train, "--data"))
    outdir.mkdir(parents=True, exist_ok=True)
    resolution = min(reference.resolution, MAX_RESOLUTION)
    digest = hashlib.sha256(reference.fingerprint().encode()).hexdigest()[:12]
    file = outdir / f"judge-{digest}.safetensors"
    network = SmallConvNet(reference.channels, reference.num_classes)
    if file.is_file():
        network.load_state_dict(load_file(file))
    else:
        print(f"fitting the judge on {len(reference):,} images, once for all cells", file=sys.stderr)
        images = read_resized(reference, resolution)
        seed = ExtractorContext(reference).seed
        network = train_classifier(images, reference.labels, reference.num_classes, seed=seed)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        save_file({name: t.contiguous() for name, t in network.state_dict().items()}, partial)
        os.replace(partial, file)
    extractor = ClassifierExtractor(network, resolution, _EVALUATION_SEED, "cpu")
    features = _class_features(reference, extractor)
    return Judge(reference, train, extractor, per_class, features, torch.device(device))


def measure_cell(judge: Judge, run: Path) -> Result:
    """What `judge` finds in a trained run, from its evaluation.json if that was made in the same way.

    Raises:
        InputError: no network there, or one without classes.
    """
    generator, digest = load_generator(run)
    if generator.num_classes == 0:
        raise InputError(f"{run}: an unconditional network makes no images of a class that was asked for")

    def found() -> Result:
        generator.to(judge.device)
        plan = plan_per_class(generator, judge.per_class)
        seeds = image_seeds(_EVALUATION_SEED, plan.labels, plan.indices)
        images = sample_images(generator, plan.labels, seeds)
        result = _measure(judge, images, plan.labels, generator.class_names)
        ranks = dict(zip(generator.class_names, effective_ranks(generator).tolist(), strict=True))
        for row in result["per_class"]:
            row["w_rank"] = ranks[row["name"]]
        return result

    return _cached(run / "evaluation.json", judge.key(digest), found) | training_cost(run)


def measure_copies(judge: Judge, mix: bool, seed: int, outdir: Path) -> Result:
    """The same of training images drawn with replacement; mix: of mixtures of two of a class, each with its share."""
    kind = "mixed-pairs" if mix else "copies"

    def found() -> Result:
        return _measure(judge, *draw_copies(judge.train, judge.per_class, mix, seed), judge.train.class_names)

    return _cached(outdir / f"{kind}-s{seed}.json", judge.key(f"{kind} {seed}"), found)


def draw_copies(
    train: ImageSet, per_class: int, mix: bool, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`per_class` training images of every class, uint8 [N, C, H, W], with labels; mix: convex mixtures of pairs."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(train.num_classes), per_class)
    members = [np.flatnonzero(train.labels == k) for k in range(train.num_classes)]

    def draw() -> NDArray[np.uint8]:
        return train.images(np.concatenate([rng.choice(chosen, per_class) for chosen in members]))

    images = draw()
    if mix:
        share = rng.random((len(images), 1, 1, 1), dtype=np.float32)
        images = (images * share + draw() * (1 - share)).round().astype(np.uint8)
    return images, labels


@torch.inference_mode()
def effective_ranks(generator: Generator, samples: int = RANK_SAMPLES) -> NDArray[np.float64]:
    """[K]: effective rank of w within each class, between 1 (collapsed to a line) and w_dim.

    exp of the entropy of the normalised singular values of `samples` centred w of one class (Roy and Vetterli,
    EUSIPCO 2007).
    """
    device = next(generator.parameters()).device
    z = torch.from_numpy(latents_from_seeds(np.arange(samples), generator.z_dim)).to(device)
    found = []
    for start in range(0, generator.num_classes, _CLASSES_AT_ONCE):
        classes = torch.arange(start, min(start + _CLASSES_AT_ONCE, generator.num_classes), device=device)
        w = generator.mapping.style(z.repeat(len(classes), 1), classes.repeat_interleave(samples))
        found.append(effective_rank(w.reshape(len(classes), samples, -1)))
    return torch.cat(found).cpu().numpy()


def effective_rank(w: Tensor) -> Tensor:
    """float64 [K] of w [K, n, D]: exp of the entropy of the normalised singular values of each centred [n, D]; 0 for
    rows that are all alike.
    """
    w = w.double()
    values = torch.linalg.svdvals(w - w.mean(dim=1, keepdim=True))
    total = values.sum(dim=1, keepdim=True)
    entropy = torch.special.entr(values / total.clamp(min=1e-300)).sum(dim=1)
    return torch.where(total[:, 0] > 0, entropy.exp(), torch.zeros_like(entropy))


def training_cost(run: Path) -> Result:
    """Seconds in training steps, summed over sessions, and images a second; from the ticks of stats.jsonl."""
    speed: dict[float, float] = {}
    for line in (run / "stats.jsonl").read_text("utf-8").splitlines():
        tick = json.loads(line)
        speed[tick["kimg"]] = tick["speed/images_per_second"]  # a tick done again after a resume counts once
    kimg = np.array(sorted(speed))
    images = np.diff(kimg, prepend=0.0) * 1000
    seconds = float((images / [speed[k] for k in kimg]).sum())
    return {"seconds": seconds, "images_per_second": float(kimg[-1] * 1000 / seconds)}


def _measure(
    judge: Judge, images: NDArray[np.uint8], labels: NDArray[np.int64], class_names: tuple[str, ...]
) -> Result:
    made = ImageSet.from_arrays(images, labels, class_names=class_names, name="generated images")
    source = source_of_set(made, "generated images")
    train = judge.train
    report = evaluate(
        judge.reference,
        source,
        judge.extractor,
        METRICS,
        dict(zip(train.class_names, train.counts.tolist(), strict=True)),
        train=source_of_set(train, "training images"),
        seed=_EVALUATION_SEED,
        options=EvaluationOptions(replicates=0, seed=_EVALUATION_SEED),
    ).as_dict()
    features = _class_features(source, judge.extractor)
    for row in report["per_class"]:
        real, fake = judge.real_features[row["name"]], features[row["name"]]
        row["diversity"] = spread(fake) / spread(real)
        row |= {f"{name}_equal": value for name, value in prdc_of_equal_numbers(real, fake).items()}
    return {name: report[name] for name in ("metrics", "per_class", "features", "settings", "warnings")}


def prdc_of_equal_numbers(real: FloatArray, fake: FloatArray, k: int = 5) -> dict[str, float]:
    """`eval.prdc` of equally many rows on both sides: mean over as many disjoint parts of the larger as there are.

    With many fakes a real, coverage is near 1 for anything (`eval.manifold.expected_coverage`).
    """
    n = min(len(real), len(fake))
    parts = [
        prdc(real[i : i + n], fake[j : j + n], k)
        for i in range(0, len(real) - n + 1, n)
        for j in range(0, len(fake) - n + 1, n)
    ]
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def spread(features: FloatArray) -> float:
    """Mean distance between the rows of features [n, D]."""
    rows = features - features.mean(axis=0)
    distances = np.sqrt(squared_distances(rows, rows))
    np.fill_diagonal(distances, 0.0)
    return float(distances.sum() / (len(rows) * (len(rows) - 1)))


def _class_features(source: ImageSource, extractor: ClassifierExtractor) -> dict[str, FloatArray]:
    features = extract_features(source, extractor).astype(np.float64)
    return {name: features[source.of_class(k)] for k, name in enumerate(source.class_names or ())}


def _cached(file: Path, key: dict[str, Any], found: Callable[[], Result]) -> Result:
    if file.is_file():
        document = json.loads(file.read_text("utf-8"))
        if document["key"] == key:
            result: Result = document["result"]
            return result
    result = found()
    write_text(file, json.dumps({"key": key, "result": result}, indent=1, allow_nan=False) + "\n")
    return result
