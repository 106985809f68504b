"""Over-sampling by a generator, with the convention of imbalanced-learn: `fit_resample(X, y)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gan_lt.errors import InputError
from gan_lt.models import ImageGenerator
from gan_lt.sampling.images import sample_images
from gan_lt.sampling.plan import SEED_LIMIT, image_seeds
from gan_lt.sampling.truncation import TruncationSetting, psi_per_class

_STRATEGIES = ("auto", "not majority", "minority", "not minority", "all")
_PARAMETERS = ("generator", "sampling_strategy", "random_state", "image_shape", "classes", "truncation_psi")


class GANOverSampler:
    """Over-sample images with those of a generator that was trained on them.

    Stands where imbalanced-learn's `RandomOverSampler` or `SMOTE` would, also in its pipelines. Training takes longer than
    a `fit`, so it comes first: `python train.py --data DATA --outdir runs --name mine`, then
    `Generator.from_pretrained("runs/mine/network")`.

    Args:
        generator: of images of the same size, conditional, in evaluation mode.
        sampling_strategy: "auto" or "not majority" (all classes but the largest, up to its size), "minority" (the smallest
            class only), "not minority", "all", or {class: images after resampling}.
        random_state: seed of the synthetic images, from 0; None: another one each time.
        image_shape: (H, W, C) or (H, W) of an image, where X is [N, features].
        classes: the labels in y of the generator's classes, in their order; None: the generator's class names where y
            holds texts, else the class indices.
        truncation_psi: a number, or {class name of the generator: psi} with "*" for the others.

    Attributes:
        sampling_strategy_: {class: images made}, after `fit_resample`. n_features_in_: numbers in an image.

    Source: the convention is imbalanced-learn's (Lemaitre et al., JMLR 2017).

    >>> import numpy as np, torch
    >>> from gan_lt.models import Generator
    >>> G = Generator(z_dim=8, num_classes=2, w_dim=8, resolution=8, img_channels=1, channel_max=8, mapping_layers=2).eval()
    >>> X, y = np.zeros((7, 8, 8, 1), dtype=np.uint8), np.array([0, 0, 0, 0, 0, 1, 1])
    >>> X_resampled, y_resampled = GANOverSampler(G).fit_resample(X, y)
    >>> X_resampled.shape, np.bincount(y_resampled).tolist()
    ((10, 8, 8, 1), [5, 5])
    """

    def __init__(
        self,
        generator: ImageGenerator,
        *,
        sampling_strategy: str | Mapping[Any, int] = "auto",
        random_state: int | None = 0,
        image_shape: Sequence[int] | None = None,
        classes: Sequence[Any] | None = None,
        truncation_psi: TruncationSetting = 1.0,
    ) -> None:
        # as scikit-learn wants it: kept as given, checked when used, so that `clone` works
        self.generator = generator
        self.sampling_strategy = sampling_strategy
        self.random_state = random_state
        self.image_shape = image_shape
        self.classes = classes
        self.truncation_psi = truncation_psi

    def fit_resample(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """The given images, and after them the synthetic ones, class by class.

        Args:
            X: [N, H, W, C], [N, H, W] (grey) or, with `image_shape`, [N, features]; uint8, or floats in [0, 1].
            y: [N] labels.

        Returns:
            X and y with the synthetic images appended, in the shape and dtype given.

        Raises:
            InputError: images of another shape or range, labels that are no classes of the generator, a class asked for
                fewer images than it has.
        """
        images, labels = np.asarray(X), np.asarray(y)
        self._check_images(images, labels)
        names, position = self._positions(labels)
        present, counts = np.unique(labels, return_counts=True)
        have = dict(zip(present.tolist(), counts.tolist(), strict=True))
        lacking = self._lacking(have, position)
        names_made = [name for name, n in lacking.items() for _ in range(n)]
        # texts keep their own width: that of the longest label given may be too short for a class that has none
        as_text = labels.dtype.kind in "US" and len(names_made) > 0
        made_y = np.array(names_made, dtype=None if as_text else labels.dtype)
        made_labels = np.array(
            [position[name] for name, n in lacking.items() for _ in range(n)], dtype=np.int64
        )
        indices = np.concatenate([np.arange(n) for n in lacking.values()] or [np.arange(0)])
        psi = psi_per_class(self.truncation_psi, names)
        seed = self.random_state
        if seed is None:
            seed = int(np.random.default_rng().integers(SEED_LIMIT))
        seeds = image_seeds(seed, made_labels, indices)
        self.sampling_strategy_ = lacking
        self.n_features_in_ = int(np.prod(images.shape[1:]))
        if not len(made_labels):
            return images.copy(), labels.copy()
        made = sample_images(self.generator, made_labels, seeds, psi[made_labels]).transpose(0, 2, 3, 1)
        made = made.reshape(len(made), *images.shape[1:])
        if images.dtype.kind == "f":
            made = made.astype(images.dtype) / images.dtype.type(255)
        return np.concatenate([images, made]), np.concatenate([labels, made_y])

    def _check_images(self, images: NDArray[Any], labels: NDArray[Any]) -> None:
        G = self.generator
        shape = tuple(images.shape[1:])
        if len(shape) == 1:
            if self.image_shape is None:
                raise InputError(
                    f"X has shape {list(images.shape)}; give image_shape=(H, W, C), or X as [N, H, W, C]"
                )
            shape = tuple(self.image_shape)
            if int(np.prod(shape)) != images.shape[1]:
                raise InputError(
                    f"image_shape={shape} has {int(np.prod(shape))} numbers, X has {images.shape[1]} a row"
                )
        if len(shape) == 2:
            shape = (*shape, 1)
        if shape != (G.resolution, G.resolution, G.img_channels):
            raise InputError(
                f"X holds images of shape {list(shape)}, the generator makes "
                f"{[G.resolution, G.resolution, G.img_channels]} (height, width, channels)"
            )
        if labels.shape != images.shape[:1] or not len(labels):
            raise InputError(
                f"y has shape {list(labels.shape)} for X of {list(images.shape)}; give one label an image"
            )
        if images.dtype.kind == "f":
            low, high = float(images.min()), float(images.max())
            if not (low >= 0 and high <= 1):
                raise InputError(f"X holds floats from {low:g} to {high:g}; give uint8, or floats in [0, 1]")
        elif images.dtype != np.uint8:
            raise InputError(f"X has dtype {images.dtype}; give uint8, or floats in [0, 1]")

    def _positions(self, labels: NDArray[Any]) -> tuple[tuple[str, ...], dict[Any, int]]:
        """The generator's class names, and its class index of every label."""
        names = self.generator.class_names
        if self.generator.num_classes == 0:
            raise InputError("generator: is unconditional, so it can't be asked for a class")
        known = self.classes
        if known is None:
            known = names if labels.dtype.kind in "US" or labels.dtype == object else range(len(names))
        if len(known) != len(names):
            raise InputError(f"classes has {len(known)} entries, the generator has {len(names)} classes")
        position = {label: k for k, label in enumerate(known)}
        for label in np.unique(labels).tolist():
            if label not in position:
                raise InputError(
                    f"y holds {label!r}, which is no class of the generator ({', '.join(map(str, known))}); pass classes=[...]"
                )
        return names, position

    def _lacking(self, have: dict[Any, int], position: dict[Any, int]) -> dict[Any, int]:
        """Images to make of each class."""
        strategy = self.sampling_strategy
        if isinstance(strategy, Mapping):
            for label, wanted in strategy.items():
                if label not in position:
                    raise InputError(f"sampling_strategy: {label!r} is no class of the generator")
                if wanted < have.get(label, 0):
                    raise InputError(
                        f"sampling_strategy: {wanted} images of {label!r}, which has {have[label]}; over-sampling only adds"
                    )
            return {label: int(wanted) - have.get(label, 0) for label, wanted in strategy.items()}
        if strategy not in _STRATEGIES:
            raise InputError(
                f"sampling_strategy={strategy!r} must be {', '.join(_STRATEGIES)} or {{class: number}}"
            )
        most, least = max(have, key=lambda k: have[k]), min(have, key=lambda k: have[k])
        return {
            label: have[most] - number
            for label, number in have.items()
            if strategy == "all"
            or (strategy == "minority" and label == least)
            or (strategy == "not minority" and label != least)
            or (strategy in ("auto", "not majority") and label != most)
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, as scikit-learn's `clone` and pipelines ask for them."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Change constructor's arguments; returns the sampler itself."""
        for name, value in params.items():
            if name not in _PARAMETERS:
                raise InputError(f"{name!r} is no parameter of GANOverSampler ({', '.join(_PARAMETERS)})")
            setattr(self, name, value)
        return self
