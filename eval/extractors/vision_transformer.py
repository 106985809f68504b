"""A vision transformer (Dosovitskiy et al., ICLR 2021) as two published networks use it: CLIP and DINOv2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class BlockNames:
    """How a checkpoint calls the parts of block i, and what differs between the families."""

    prefix: str
    norm_1: str
    qkv_weight: str
    qkv_bias: str
    projection: str
    norm_2: str
    expand: str
    contract: str
    scale_1: str | None
    scale_2: str | None
    epsilon: float
    activation: Callable[[Tensor], Tensor]


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's activation, x * sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


CLIP_BLOCKS = BlockNames(
    prefix="visual.transformer.resblocks.{}.",
    norm_1="ln_1",
    qkv_weight="attn.in_proj_weight",
    qkv_bias="attn.in_proj_bias",
    projection="attn.out_proj",
    norm_2="ln_2",
    expand="mlp.c_fc",
    contract="mlp.c_proj",
    scale_1=None,
    scale_2=None,
    epsilon=1e-5,
    activation=quick_gelu,
)
DINO_BLOCKS = BlockNames(
    prefix="blocks.{}.",
    norm_1="norm1",
    qkv_weight="attn.qkv.weight",
    qkv_bias="attn.qkv.bias",
    projection="attn.proj",
    norm_2="norm2",
    expand="mlp.fc1",
    contract="mlp.fc2",
    scale_1="ls1.gamma",
    scale_2="ls2.gamma",
    epsilon=1e-6,
    activation=functional.gelu,
)
HEAD_DIM = 64


def clip_features(weights: Weights, images: Tensor) -> Tensor:
    """CLIP's image embedding [n, d] of normalised images [n, 3, s, s] (Radford et al., ICML 2021)."""
    patches = weights["visual.conv1.weight"]
    tokens = functional.conv2d(images, patches, stride=patches.shape[-1]).flatten(2).transpose(1, 2)
    first = weights["visual.class_embedding"].expand(len(images), 1, -1)
    x = torch.cat([first, tokens], 1) + weights["visual.positional_embedding"]
    x = _norm(weights, "visual.ln_pre", x, CLIP_BLOCKS.epsilon)
    x = _blocks(weights, x, CLIP_BLOCKS)
    return _norm(weights, "visual.ln_post", x[:, 0], CLIP_BLOCKS.epsilon) @ weights["visual.proj"]


def dino_features(weights: Weights, images: Tensor) -> Tensor:
    """DINOv2's normalised class token [n, d] of normalised images [n, 3, s, s] (Oquab et al., TMLR 2024)."""
    patches = weights["patch_embed.proj.weight"]
    side = images.shape[-1] // patches.shape[-1]
    tokens = functional.conv2d(images, patches, weights["patch_embed.proj.bias"], stride=patches.shape[-1])
    x = torch.cat([weights["cls_token"].expand(len(images), -1, -1), tokens.flatten(2).transpose(1, 2)], 1)
    x = _blocks(weights, x + _dino_positions(weights["pos_embed"], side), DINO_BLOCKS)
    return _norm(weights, "norm", x[:, 0], DINO_BLOCKS.epsilon)


def _dino_positions(embedding: Tensor, side: int) -> Tensor:
    """Position embedding [1, 1 + side^2, d], resampled from the size it was trained at."""
    grid = round((embedding.shape[1] - 1) ** 0.5)
    if grid == side:
        return embedding
    squares = embedding[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    # the published networks were evaluated with this offset in the scale, and give other features without it
    scale = (side + 0.1) / grid
    resized = functional.interpolate(squares, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([embedding[:, :1], resized.flatten(2).transpose(1, 2)], 1)


def _blocks(weights: Weights, x: Tensor, names: BlockNames) -> Tensor:
    depth = 0
    while f"{names.prefix.format(depth)}{names.qkv_weight}" in weights:
        x = _block(weights, x, names, names.prefix.format(depth))
        depth += 1
    return x


def _block(weights: Weights, x: Tensor, names: BlockNames, prefix: str) -> Tensor:
    n, length, width = x.shape
    normed = _norm(weights, prefix + names.norm_1, x, names.epsilon)
    qkv = functional.linear(normed, weights[prefix + names.qkv_weight], weights[prefix + names.qkv_bias])
    q, k, v = qkv.view(n, length, 3, width // HEAD_DIM, HEAD_DIM).permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)
    x = x + _scaled(weights, prefix, names.scale_1, _linear(weights, prefix + names.projection, mixed))
    normed = _norm(weights, prefix + names.norm_2, x, names.epsilon)
    hidden = names.activation(_linear(weights, prefix + names.expand, normed))
    return x + _scaled(weights, prefix, names.scale_2, _linear(weights, prefix + names.contract, hidden))


def _scaled(weights: Weights, prefix: str, name: str | None, x: Tensor) -> Tensor:
    return x if name is None else x * weights[prefix + name]


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, x: Tensor, epsilon: float) -> Tensor:
    weight = weights[f"{name}.weight"]
    return functional.layer_norm(x, weight.shape, weight, weights[f"{name}.bias"], epsilon)
