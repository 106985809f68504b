"""The extractors "clip" (ViT-B/32, as clean-fid's CLIP features) and "dinov2" (ViT-B/14)."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eval.extractors.base import ExtractorContext, FeatureArray, ImageArray
from eval.extractors.clean_resize import CleanResizer
from eval.extractors.torchscript import load_torchscript
from eval.extractors.vision_transformer import clip_features, dino_features
from eval.extractors.weights import CACHE, WeightsFile, find_weights, hash_file
from gan_lt.errors import InputError

INPUT_SIZE = 224
_CLIP_SHA256 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
CLIP_WEIGHTS = WeightsFile(
    features="clip",
    name="ViT-B-32.pt",
    url=f"https://openaipublic.azureedge.net/clip/models/{_CLIP_SHA256}/ViT-B-32.pt",
    megabytes=338,
    variable="GAN_LT_CLIP",
    elsewhere=(CACHE.parent / "clip" / "ViT-B-32.pt",),
    sha256=_CLIP_SHA256,
)
DINO_WEIGHTS = WeightsFile(
    features="dinov2",
    name="dinov2_vitb14_pretrain.pth",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
    megabytes=330,
    variable="GAN_LT_DINOV2",
    elsewhere=(CACHE.parent / "torch" / "hub" / "checkpoints" / "dinov2_vitb14_pretrain.pth",),
)
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TransformerExtractor:
    """Features [n, d] of a vision transformer: clean-fid's resize to 224, then the network's own
    normalisation.
    """

    def __init__(
        self,
        name: str,
        weights: Mapping[str, Tensor],
        weights_hash: str,
        forward: Callable[[Mapping[str, Tensor], Tensor], Tensor],
        normalisation: tuple[tuple[float, ...], tuple[float, ...]],
        device: str,
    ) -> None:
        self.name = name
        self.weights_hash: str | None = weights_hash
        self.settings: Mapping[str, Any] = {"resize": f"bicubic, antialiased, {INPUT_SIZE}"}
        self._weights = {key: value.to(device).float() for key, value in weights.items()}
        self._forward = forward
        self._mean, self._std = (torch.tensor(part, device=device).view(1, 3, 1, 1) for part in normalisation)
        self._device = device
        self._resize = CleanResizer(INPUT_SIZE)

    def __call__(self, images: ImageArray) -> FeatureArray:
        resized = self._resize(images).to(self._device)
        with torch.no_grad():
            features = self._forward(self._weights, (resized / 255 - self._mean) / self._std)
        result: FeatureArray = features.float().cpu().numpy()
        return result


def load_clip(context: ExtractorContext) -> TransformerExtractor:
    """CLIP from OpenAI's file. Raises InputError when it can't be had or is another network."""
    path = find_weights(CLIP_WEIGHTS, context.weights)
    weights = load_torchscript(path, "cpu").state_dict()
    _require(weights, ("visual.conv1.weight", "visual.proj"), path, "CLIP vision transformer")
    return TransformerExtractor(
        "clip", weights, hash_file(path), clip_features, (_CLIP_MEAN, _CLIP_STD), context.device
    )


def load_dinov2(context: ExtractorContext) -> TransformerExtractor:
    """DINOv2 from Meta's state dict. Raises InputError when it can't be had or is another network."""
    path = find_weights(DINO_WEIGHTS, context.weights)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251  tensors only
    except (RuntimeError, OSError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} can't be read as a state dict ({reason}); get the file again") from None
    _require(weights, ("patch_embed.proj.weight", "blocks.0.ls1.gamma"), path, "DINOv2 vision transformer")
    return TransformerExtractor(
        "dinov2", weights, hash_file(path), dino_features, (_IMAGENET_MEAN, _IMAGENET_STD), context.device
    )


def _require(weights: Any, keys: tuple[str, ...], path: Path, what: str) -> None:
    if not isinstance(weights, Mapping) or any(key not in weights for key in keys):
        raise InputError(f"{path} is not a {what}: it lacks {' or '.join(keys)}")
