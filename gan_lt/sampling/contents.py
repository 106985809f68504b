"""What a synthetic set holds, image by image, before a pixel exists; and its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_lt.data import ImageSet
from gan_lt.sampling.plan import SamplingPlan, image_seeds


@dataclass(frozen=True)
class SetContents:
    """N images in the order in which a set lists them, class by class, copied real ones before sampled ones.

    labels: int64 [N]. seeds: int64 [N], -1 for a copied real image. psi: float64 [N]. sources: int64 [N], where the pixels
    come from: the position in the real set, or of the selected candidate, else -1. stems: "CLASS/000000", without suffix.
    """

    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    seeds: NDArray[np.int64]
    psi: NDArray[np.float64]
    sources: NDArray[np.int64]
    stems: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 [K]: images of each class, copied and sampled."""
        return np.bincount(self.labels, minlength=len(self.class_names)).astype(np.int64)

    def made(self) -> NDArray[np.int64]:
        """int64 [K]: sampled images of each class."""
        return np.bincount(self.labels[self.seeds >= 0], minlength=len(self.class_names)).astype(np.int64)

    def image_entries(self, files: tuple[str, ...], real: ImageSet | None) -> list[dict[str, Any]]:
        """The manifest's `images`: of each its file, class, and either seed and truncation or the real image's id."""
        rows = zip(
            files,
            self.labels.tolist(),
            self.seeds.tolist(),
            self.psi.tolist(),
            self.sources.tolist(),
            strict=True,
        )
        entries: list[dict[str, Any]] = []
        for file, label, seed, psi, source in rows:
            entry = {"file": file, "class": self.class_names[label]}
            if seed >= 0:
                entry |= {"seed": seed, "truncation_psi": psi}
            elif real is not None:
                entry |= {"real": real.ids[source]}
            entries.append(entry)
        return entries


def contents_of_plan(
    plan: SamplingPlan, seed: int, psi: NDArray[np.float64], real: ImageSet | None = None
) -> SetContents:
    """The images that a plan asks for, with the images of `real` (of the same classes, by name) before them.

    psi: float64 [K], truncation of each class.
    """
    return join_contents(
        plan.class_names, plan.labels, image_seeds(seed, plan.labels, plan.indices), None, psi, real
    )


def join_contents(
    class_names: tuple[str, ...],
    labels: NDArray[np.int64],
    seeds: NDArray[np.int64],
    sources: NDArray[np.int64] | None,
    psi: NDArray[np.float64],
    real: ImageSet | None,
) -> SetContents:
    """Contents from sampled images (labels, seeds [M], ordered by class) and, before them, copied real ones."""
    sources = np.full(len(labels), -1, dtype=np.int64) if sources is None else sources
    if real is not None:
        position = {name: k for k, name in enumerate(class_names)}
        real_labels = np.array([position[name] for name in real.class_names])[real.labels]
        labels = np.concatenate([real_labels, labels])
        seeds = np.concatenate([np.full(len(real_labels), -1, dtype=np.int64), seeds])
        sources = np.concatenate([np.arange(len(real_labels)), sources])
        order = np.argsort(labels, kind="stable")
        labels, seeds, sources = labels[order], seeds[order], sources[order]
    group = labels * 2 + (seeds >= 0)  # class by class, real before sampled: sorted already
    first = np.searchsorted(group, group, side="left")
    stems = tuple(
        f"{class_names[k]}/{'' if sampled else 'real-'}{i:06d}"
        for k, sampled, i in zip(
            labels.tolist(), (seeds >= 0).tolist(), (np.arange(len(group)) - first).tolist(), strict=True
        )
    )
    return SetContents(class_names, labels, seeds, psi[labels], sources, stems)
