"""What the page shows, without the page: samples of a class, real images beside them, rows of all classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan_lt.app.pictures import labelled_rows, picture
from gan_lt.class_names import composed
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import image_seeds, load_generator, sample_images
from gan_lt.training.dataset import open_training_set
from gan_lt.training.run_directory import CONFIG_NAME, open_run

ROWS_A_PAGE = 20
MAX_IMAGES = 64


@dataclass(frozen=True)
class Gallery:
    """A network and, where they can be had, the images that it was trained on.

    real: None with a reason in `without_real`.
    """

    generator: Generator
    real: ImageSet | None
    without_real: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """All classes, the most common first; one called "all" for an unconditional network."""
        names = self.generator.class_names
        return tuple(names[k] for k in self._order()) if self.generator.num_classes else ("all",)

    @property
    def pages(self) -> int:
        """Pages of `rows`."""
        return -(-len(self.class_names) // ROWS_A_PAGE)

    def describe(self, name: str) -> str:
        """The class with the number of images that it was trained on, as in "9 (6 images)"."""
        counts = self.generator.class_counts
        if counts is None or not self.generator.num_classes:
            return name
        n = counts[self._label(name)]
        return f"{name} ({n:,} image{'' if n == 1 else 's'})"

    def samples(self, name: str, seed: int, truncation_psi: float, images: int = 24) -> NDArray[np.uint8]:
        """The first `images` images that `gan-lt generate --seed` makes of a class, as a picture [H, W(, 3)].

        Raises:
            InputError: no such class, a seed, truncation or number out of range.
        """
        return picture(self._sampled([self._label(name)], seed, truncation_psi, images))

    def real_images(self, name: str, images: int = 24) -> NDArray[np.uint8] | None:
        """Up to `images` training images of a class, as a picture; None where there are none."""
        if self.real is None:
            return None
        labels = self.real.labels
        if self.generator.num_classes:
            labels = np.where(labels == self._real_label(name), 0, -1)
        chosen = np.flatnonzero(labels >= 0)[:images]
        return picture(self.real.images(chosen)) if len(chosen) else None

    def rows(self, seed: int, truncation_psi: float, columns: int = 10, page: int = 1) -> NDArray[np.uint8]:
        """A row a class, the most common first, ROWS_A_PAGE of them, each with its name: a picture [H, W, 3].

        Raises:
            InputError: a page, seed, truncation or number out of range.
        """
        if not 1 <= page <= self.pages:
            raise InputError(f"page {page} must be from 1 to {self.pages}")
        names = self.class_names[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE]
        images = self._sampled([self._label(name) for name in names], seed, truncation_psi, columns)
        return labelled_rows(images, [self.describe(name) for name in names])

    def _order(self) -> NDArray[np.int64]:
        counts = self.generator.class_counts
        if counts is None:
            return np.arange(self.generator.num_classes)
        return np.argsort(-np.asarray(counts), kind="stable")

    def _label(self, name: str) -> int:
        if not self.generator.num_classes:
            return 0
        if name not in self.generator.class_names:
            raise InputError(f"class {name!r} is unknown; the network has {', '.join(self.class_names)}")
        return self.generator.class_names.index(name)

    def _real_label(self, name: str) -> int:
        names = self.real.class_names if self.real is not None else ()
        return names.index(composed(name)) if composed(name) in names else -1

    def _sampled(self, labels: list[int], seed: int, truncation_psi: float, images: int) -> NDArray[np.uint8]:
        if not 0 <= truncation_psi <= 2:
            raise InputError(f"truncation {truncation_psi} must be from 0 to 2; 1 is the full distribution")
        if not 1 <= images <= MAX_IMAGES:
            raise InputError(f"{images} images of a class can't be shown; choose 1 to {MAX_IMAGES}")
        all_labels = np.repeat(np.asarray(labels, dtype=np.int64), images)
        indices = np.tile(np.arange(images), len(labels))
        return sample_images(
            self.generator, all_labels, image_seeds(seed, all_labels, indices), truncation_psi
        )


def open_gallery(path: Path, data: ImageSet | None = None) -> Gallery:
    """The gallery of a run, or of a saved network's folder.

    Args:
        path: as `gan-lt generate --network`. data: images to show beside the samples; None: those of the run.

    Raises:
        InputError: no network there.
    """
    generator, _ = load_generator(path)
    if data is not None:
        return Gallery(generator, data)
    if not (path / CONFIG_NAME).is_file():
        return Gallery(
            generator, None, f"{path} is a network without its run: pass --data to see real images"
        )
    try:
        return Gallery(generator, open_training_set(open_run(path).data))
    except InputError as error:
        return Gallery(generator, None, f"the training images can't be opened: {error}")


__all__ = ["MAX_IMAGES", "ROWS_A_PAGE", "Gallery", "open_gallery"]
