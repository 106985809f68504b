"""Networks that judge single images, each image for itself: a classifier's verdict, the discriminator's score."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_lt.classifier import Classifier
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator
from gan_lt.sampling.images import CHUNK, sample_images
from gan_lt.sampling.plan import classifier_names, image_seeds

_CALIBRATION = 128
_CALIBRATION_INDEX = 2**28 - _CALIBRATION  # the last images of a class: nobody gets to see them


class ClassifierJudge:
    """Probabilities of the classes, by name.

    classifier: as `gan-lt classifier train` saves it, of the generator's image size. class_names: the K classes in the order
    wanted; None: the classifier's own.

    Raises:
        InputError: images of another size, other classes.
    """

    def __init__(
        self, classifier: Classifier, generator: Generator, class_names: tuple[str, ...] | None = None
    ) -> None:
        own = (classifier.resolution, classifier.img_channels)
        if own != (generator.resolution, generator.img_channels):
            raise InputError(
                f"--classifier: was trained on {own[0]}x{own[0]}x{own[1]} images, the network makes "
                f"{generator.resolution}x{generator.resolution}x{generator.img_channels}; train one on such images"
            )
        names = classifier_names(classifier)
        self.class_names = names if class_names is None else class_names
        if set(names) != set(self.class_names):
            odd = sorted(set(names) ^ set(self.class_names))[0]
            side = "classifier" if odd in names else "network"
            raise InputError(
                f"--classifier: class {odd!r} is in the {side} only; train one on the classes of the network"
            )
        self._order = torch.tensor([names.index(name) for name in self.class_names])
        self._network = classifier.to(next(generator.parameters()).device).eval()

    @torch.inference_mode()
    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [n, C, H, W] -> float32 [n, K]."""
        device = self._network.head.weight.device
        labels = np.zeros(len(images), dtype=np.int64)
        return _in_chunks(
            lambda x, _: self._network(x).softmax(dim=1)[:, self._order], images, labels, device
        )


class DiscriminatorJudge:
    """The discriminator's logit of an image for a class: how real it looks.

    Its minibatch-stddev layer compares the images of a batch. Here that one feature is held at its mean over generated
    images, so that a score does not depend on an image's neighbours.
    """

    def __init__(self, discriminator: Discriminator, generator: Generator) -> None:
        self._network = copy.deepcopy(discriminator).eval()
        device = next(generator.parameters()).device
        self._network.to(device)
        if getattr(self._network, "minibatch_std", None) is not None:
            labels = np.arange(_CALIBRATION) % max(generator.num_classes, 1)
            seeds = image_seeds(0, labels, _CALIBRATION_INDEX + np.arange(_CALIBRATION))
            images = sample_images(generator, labels, seeds)
            self._network.minibatch_std = _HeldStd(self._measure(images, labels))  # type: ignore[assignment]

    @torch.inference_mode()
    def scores(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """uint8 [n, C, H, W], classes int64 [n] -> float32 [n], high for what looks real."""
        device = next(self._network.parameters()).device
        return _in_chunks(self._network, images, labels, device)

    @torch.inference_mode()
    def _measure(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        seen: list[Tensor] = []
        layer = self._network.minibatch_std
        hook = layer.register_forward_hook(lambda module, given, out: seen.append(out[:, -1].mean()))  # type: ignore[union-attr]
        group = getattr(layer, "group_size", None) or len(images)
        use = len(images) - len(images) % min(group, len(images))
        device = next(self._network.parameters()).device
        self._network(_to_unit(images[:use], device), torch.from_numpy(labels[:use]).to(device))
        hook.remove()
        return float(seen[0])


class _HeldStd(nn.Module):
    """A minibatch-stddev layer whose feature is a constant."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        feature = x.new_full((len(x), 1, *x.shape[2:]), self.value)
        return torch.cat([x, feature], dim=1)


def _in_chunks(
    network: Callable[[Tensor, Tensor], Tensor],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    device: torch.device,
) -> NDArray[np.float32]:
    """A network's output for images, always in filled chunks: rounding does not depend on how many there are."""
    outputs = []
    for start in range(0, len(images), CHUNK):
        stop = min(start + CHUNK, len(images))
        filled = np.resize(np.arange(start, stop), CHUNK)
        y = torch.from_numpy(labels[filled]).to(device)
        outputs.append(network(_to_unit(images[filled], device), y)[: stop - start].float().cpu().numpy())
    return np.concatenate(outputs)


def _to_unit(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(images).to(device, torch.float32) / 127.5 - 1


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, names included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_classifier(path: Path) -> Classifier:
    """The classifier in a folder that `gan-lt classifier train` made, or named by its model.safetensors.

    Raises:
        InputError: nothing there, or something else.
    """
    if not path.exists():
        raise InputError(
            f"--classifier: {path} does not exist; make one with: gan-lt classifier train --data DATA --outdir {path}"
        )
    return Classifier.from_pretrained(path.parent if path.is_file() else path)


def load_discriminator(run: Path, generator: Generator) -> Discriminator:
    """The discriminator in the newest good checkpoint of the run that made `generator`.

    run: the run, or its `network/` or a file in there.

    Raises:
        InputError: not a run, no good checkpoint, networks of another size.
    """
    from gan_lt.training.checkpoint import DamagedCheckpointError, list_checkpoints, load_checkpoint
    from gan_lt.training.run_directory import CONFIG_NAME, open_run
    from gan_lt.training.state import build_networks

    places = (run, *run.parents[:2])
    found = next((place for place in places if (place / CONFIG_NAME).is_file()), None)
    if found is None:
        raise InputError(
            f"--score: discriminator: {run} is no run, so it has no discriminator; pass a run, or --score classifier"
        )
    size, num_classes = generator.resolution, max(generator.num_classes, 1)
    like = ImageSet.from_arrays(
        np.zeros((num_classes, generator.img_channels, size, size), dtype=np.uint8), np.arange(num_classes)
    )
    _, discriminator = build_networks(open_run(found), like)
    for file in reversed(list_checkpoints(found / "checkpoints")):
        try:
            state = load_checkpoint(file)["D"]
        except DamagedCheckpointError:
            continue
        try:
            discriminator.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(
                f"--score: discriminator: {file} does not fit the network ({str(error).splitlines()[0]})"
            ) from error
        return discriminator.eval()
    raise InputError(f"--score: discriminator: {found} has no good checkpoint; pass --score classifier")
