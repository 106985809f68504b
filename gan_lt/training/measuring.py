"""Measures of the averaged generator while it trains, and the best network so far."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eval.reference import Reference
from eval.sources import ImageSource, SourceOptions, open_source, source_of_set
from gan_lt.config import MetricsConfig, TrainConfig
from gan_lt.data import ImageSet
from gan_lt.data.opening import Split, is_named
from gan_lt.errors import InputError
from gan_lt.models import ImageGenerator
from gan_lt.sampling.images import sample_images

BEST = "best"
_RECORD = "metrics.json"
_HIGHER_IS_BETTER = ("precision", "recall", "density", "coverage")


class Measuring:
    """Compares samples of a generator with real images again and again.

    The same latents every time, so curves show the network and not the draw. Draws from no random state that training
    uses: a run with measures makes the same networks as one without.
    """

    def __init__(self, config: TrainConfig, images: ImageSet, run: Path, device: torch.device) -> None:
        """Open the reference and extract its features (the classifier is trained here).

        Raises:
            InputError: the reference can't be read, or its classes are not those of training.
        """
        self.settings: MetricsConfig = config.metrics
        self.run = run
        real = reference_images(config, images)
        missing = sorted(set(images.class_names) ^ set(real.class_names or ()))
        if missing and config.generator.conditional:
            raise InputError(
                f"metrics.real: class {missing[0]!r} is in only one of {real.name} and the training images; the reference "
                f"must have the same classes"
            )
        if real.channels != images.channels:
            raise InputError(
                f"metrics.real: {real.name} has {real.channels} channels, the training images {images.channels}; pass "
                f"metrics.real with images of the same kind"
            )
        with torch.random.fork_rng(devices=[]):
            self._reference = Reference(
                real, self.settings.features, seed=config.training.seed, device=str(device)
            )
        self.description = (
            f"{', '.join(self.settings.names)} on {self._reference.extractor.name} features of "
            f"{self.settings.per_class} samples a class against {len(real):,} images of {real.name}"
        )
        self._labels = self._asked_labels(images, real, config.generator.conditional)

    def _asked_labels(
        self, images: ImageSet, real: ImageSource, conditional: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each sample its class as the generator counts them, and as the reference does."""
        ours = np.repeat(np.arange(images.num_classes), self.settings.per_class)
        if not conditional or real.class_names is None:
            return ours, ours % real.num_classes
        order = [real.class_names.index(name) for name in images.class_names]
        return ours, np.asarray(order)[ours]

    def measure(self, generator: ImageGenerator) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Figures over all classes by name, and by class."""
        ours, theirs = self._labels
        samples = sample_images(generator, ours, np.arange(len(ours)))
        found = self._reference.compare(samples, theirs, ",".join(self.settings.names))
        per_class = found.per_class if generator.num_classes else {}
        return found.whole, per_class

    def curve(self, figure: str) -> str:
        """Title of a figure's curve: a distance that isn't on Inception features must not pass for an FID."""
        features = self._reference.extractor.name
        distance = figure in ("fid", "ifid", "kid") and features != "inception"
        return f"metrics/{figure}_{features}" if distance else f"metrics/{figure}"

    def keep_best(self, generator: ImageGenerator, values: dict[str, float], images_seen: int) -> bool:
        """Save `generator` in best/ if the deciding figure is better than ever before in this run, measured the same way.

        Returns whether it was. best/metrics.json says which figures, when, and what was measured against what.
        """
        name = self.settings.deciding
        if name is None or name not in values or not math.isfinite(values[name]):
            return False
        folder, sign = self.run / BEST, -1.0 if name in _HIGHER_IS_BETTER else 1.0
        record = folder / _RECORD
        if record.is_file():
            kept = json.loads(record.read_text("utf-8"))
            same = kept["by"] == name and kept.get("measured", self.description) == self.description
            if same and sign * kept["metrics"][name] <= sign * values[name]:
                return False
        generator.save_pretrained(folder)
        temporary = folder / f".{_RECORD}.{os.getpid()}"
        kept = {"by": name, "kimg": images_seen / 1000, "measured": self.description, "metrics": values}
        text = json.dumps(kept, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, record)
        return True


def reference_images(config: TrainConfig, images: ImageSet) -> ImageSource:
    """What `metrics.real` names; else the held-out split of a named set, or the training images themselves."""
    path, real = config.data.path, config.metrics.real
    if real is None and (path is None or not is_named(path)):
        return source_of_set(images, "the training images")
    split: Split = "test"
    if real is None and path is not None:
        real, _, trained = path.partition(":")
        split = "train" if trained == "test" else "test"
    # where the images of a list lie is not where CIFAR lies
    root = config.data.root if is_named(real or "") == is_named(path or "") else None
    options = SourceOptions(
        "metrics.real",
        split,
        data_root=None if root is None else Path(root),
        resolution=images.resolution,
    )
    return open_source(real, options)
