"""A reference measured once, for training: generated images are compared with it again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from eval.alignment import align
from eval.distribution import PRDC, DistributionSettings, compare_distributions
from eval.estimate import mean_of
from eval.extraction import extract_features
from eval.extractors import ExtractorContext, build_extractor
from eval.intra_class import ClassEstimates, balanced_positions, per_class_distributions
from eval.report import distance_name
from eval.sources import SourceOptions, from_arrays, open_source
from gan_lt.errors import InputError

MEASURES = ("fid", "kid", "prdc", "ifid")


@dataclass(frozen=True)
class Comparison:
    """Generated images against the reference.

    Attributes:
        whole: measures over all images, by name.
        per_class: the same by class, for classes with enough images.
    """

    whole: dict[str, float]
    per_class: dict[str, dict[str, float]]


class Reference:
    """Real images with their features, extracted once.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> images, labels = rng.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8), np.arange(40) % 2
    >>> reference = Reference((images, labels), features=lambda x: x.reshape(len(x), -1)[:, :4])
    >>> round(reference.measure(images, labels, "ifid")["ifid"], 6)
    0.0
    """

    def __init__(
        self,
        real: Any,
        features: Any = "classifier",
        *,
        split: Literal["train", "test"] = "test",
        seed: int = 0,
        device: str = "cpu",
        k: int = 5,
    ) -> None:
        """real, features, split: as for `evaluate`; the classifier is trained here, once."""
        from gan_lt.training.device import choose_device  # training measures with this package

        self.real = open_source(real, SourceOptions("--real", split))
        self.extractor = build_extractor(
            features, ExtractorContext(self.real, seed, str(choose_device(device)))
        )
        self.features = extract_features(self.real, self.extractor)
        self.settings = DistributionSettings(k=k, replicates=0, seed=seed)

    @property
    def distance_name(self) -> str:
        """What "fid" is to be called on these features, for a curve's title."""
        return distance_name(self.extractor.name)

    def measure(self, images: Any, labels: Any, metrics: str = "fid,ifid,prdc") -> dict[str, float]:
        """Measures of uint8 images [n, C, H, W] with labels [n]; `metrics` out of fid, kid, prdc, ifid.

        Keys: fid, kid, precision, recall, density, coverage, ifid (mean over classes). A class of the
        reference without images, fewer than k + 1 images, or an unknown metric raise InputError.
        """
        return self.compare(images, labels, metrics).whole

    def compare(self, images: Any, labels: Any, metrics: str = "fid,ifid,prdc") -> Comparison:
        """As `measure`, and class by class as well: ifid, and with prdc the four of it, where a class has
        more than k images on both sides.
        """
        wanted = {name.strip() for name in metrics.split(",")}
        unknown = wanted - set(MEASURES)
        if unknown:
            raise InputError(
                f"metric {min(unknown)!r} can't be measured in training; choose from {', '.join(MEASURES)}"
            )
        sides = align(self.real, from_arrays(images, labels, "the generated images"))
        fake = extract_features(sides.fake, self.extractor)
        whole = {"frechet" if name == "fid" else name for name in wanted & {"fid", "kid", "prdc"}}
        found = compare_distributions(self.features, fake, whole, self.settings)
        result = {"fid" if name == "frechet" else name: estimate.value for name, estimate in found.items()}
        result.pop("kid_std", None)
        classes: list[ClassEstimates] = []
        by_class = ({"frechet"} if "ifid" in wanted else set()) | (wanted & {"prdc"})
        if by_class:
            size = len(sides.class_names)
            rows = balanced_positions(self.real.labels, size, self.settings.seed)
            fake_rows = [np.flatnonzero(sides.fake.labels == index) for index in range(size)]
            classes = per_class_distributions(self.features, rows, fake, fake_rows, by_class, self.settings)
        if "ifid" in wanted:
            mean = mean_of([row["frechet"] for row in classes])
            if mean is not None:
                result["ifid"] = mean.value
        order = ("fid", "ifid", "kid", *PRDC)
        return Comparison(
            {name: result[name] for name in order if name in result},
            {
                name: {
                    "ifid" if key == "frechet" else key: estimate.value
                    for key, estimate in row.items()
                    if estimate is not None
                }
                for name, row in zip(sides.class_names, classes, strict=False)
            },
        )
