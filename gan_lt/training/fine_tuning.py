"""Weights of one network in another whose classes differ: the start of fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from gan_lt.class_names import composed
from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator
from gan_lt.training.initial_networks import InitialNetworks

if TYPE_CHECKING:
    from gan_lt.training.state import TrainingState

NEW_CLASS_NOISE = 0.1
_EMBEDDING = "mapping.embed.weight"
_FIRST_LAYER = "mapping.layers.0.weight"


def match_classes(
    source_names: Sequence[str] | None, source_count: int, names: Sequence[str]
) -> list[int | None]:
    """For each class of `names` the source's class to take over, None for a new class.

    By name, in NFC. A source that does not tell its names is matched by position if it has as many classes, else not at all.

    >>> match_classes(["cat", "dog"], 2, ["ant", "dog"])
    [None, 1]
    """
    if source_names is None:
        return list(range(len(names))) if source_count == len(names) else [None] * len(names)
    position = {composed(name): index for index, name in enumerate(source_names)}
    return [position.get(composed(name)) for name in names]


def class_vectors(table: Tensor, matches: Sequence[int | None], noise: Tensor) -> Tensor:
    """Class embeddings [K', d] from the source's [K, d].

    A known class keeps its vector. A new one gets the mean of the source's plus `NEW_CLASS_NOISE` times their standard
    deviation (of a single class: its root mean square) times `noise`, so that it starts as an average class, apart from
    the other new ones. ClassEmbedding divides by sqrt(K); the vectors are scaled so that this changes nothing.

    Args:
        matches: as `match_classes` returns. noise: [K', d] standard normal.
    """
    spread = table.std(dim=0) if len(table) > 1 else table.square().mean().sqrt().expand(table.shape[1])
    vectors = table.mean(dim=0) + NEW_CLASS_NOISE * spread * noise
    known = [k for k, match in enumerate(matches) if match is not None]
    vectors[known] = table[[match for match in matches if match is not None]]
    return vectors * math.sqrt(len(matches) / len(table))


def transfer(
    source: Generator | Discriminator,
    target: Generator | Discriminator,
    matches: Sequence[int | None],
    noise: Tensor,
    where: str,
) -> None:
    """Load the source's weights into the target, class embedding re-made; in place, so optimizers keep hold of them.

    A conditional target takes an unconditional source, too: the new class embedding acts through zero weights, so the
    generator begins with the source's images for every class; the discriminator gets a new last layer.

    Args:
        matches, noise: as in `class_vectors`; noise is wide enough for either network.
        where: the source's name in messages.

    Raises:
        InputError: a layer that only one of them has, or of another shape; both shapes are named.
    """
    expected = target.state_dict()
    state = dict(source.state_dict())
    if source.num_classes and target.num_classes:
        width = state[_EMBEDDING].shape[1]
        state[_EMBEDDING] = class_vectors(state[_EMBEDDING], matches, noise[:, :width])
    elif target.num_classes:
        state = _with_classes(source, state, expected)
    for name in ("mapping.class_scale", "mapping.w_avg_unconditional"):
        # state of a method, not layers: begun afresh where the source ran without it, dropped where the target does
        if name in expected and name not in state:
            state[name] = state["mapping.w_avg"] if name.endswith("unconditional") else expected[name]
        elif name in state and name not in expected:
            del state[name]
    what = type(target).__name__.lower()
    for name in sorted(expected.keys() | state.keys()):
        theirs = list(state[name].shape) if name in state else "nothing"
        ours = list(expected[name].shape) if name in expected else "nothing"
        if theirs != ours:
            raise InputError(
                f"--init-from: {where}: the {what}'s layer {name!r} is {theirs} there, but {ours} in the network to train; "
                f"leave the settings to the file, or start afresh"
            )
    target.load_state_dict(state)


def _with_classes(
    source: Generator | Discriminator, state: dict[str, Tensor], expected: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The state of an unconditional network with class layers."""
    state = dict(state)
    if isinstance(source, Generator):
        new = {"mapping.embed.weight", "mapping.embed.bias"}
        old, wanted = state[_FIRST_LAYER], expected[_FIRST_LAYER]
        # an equalised layer divides by sqrt(inputs): scaled, so that z acts as it did
        scaled = old * math.sqrt(wanted.shape[1] / old.shape[1])
        classes = old.new_zeros(old.shape[0], max(0, wanted.shape[1] - old.shape[1]))
        state[_FIRST_LAYER] = torch.cat([scaled, classes], dim=1)
    else:
        new = {name for name in expected if name.startswith(("mapping.", "out."))}
    return state | {name: expected[name] for name in new}


def check_fit(networks: InitialNetworks, num_classes: int, resolution: int, channels: int) -> None:
    """InputError unless images of this form can be trained on with these networks."""
    G = networks.G
    for what, ours, theirs in (
        ("resolution", resolution, G.resolution),
        ("channels", channels, G.img_channels),
    ):
        if ours != theirs:
            raise InputError(
                f"--init-from: the network of {networks.source} makes images with {what}={theirs}, the data have {ours}; "
                f"pass data.{what}={theirs}"
            )
    if G.num_classes and not num_classes:
        raise InputError(
            f"generator.conditional=false: the network of {networks.source} has {G.num_classes} classes; train it with classes"
        )
    if networks.D is not None and bool(networks.D.num_classes) != bool(G.num_classes):
        raise InputError(
            f"--init-from: {networks.source}: the generator has {G.num_classes} classes, the discriminator "
            f"{networks.D.num_classes}; they are no pair"
        )


@torch.no_grad()
def start_from(state: TrainingState, networks: InitialNetworks) -> str:
    """Give a new run's networks the source's weights; returns a sentence that says which classes were known.

    Raises:
        InputError: a network that does not fit, or frozen layers of a discriminator that the source does not have.
    """
    G, D = state.G, state.D
    if not isinstance(G, Generator) or not isinstance(D, Discriminator):
        raise InputError(
            f"--init-from: {networks.source}: backbone={state.config.backbone} can't be started from it; take backbone=stylegan2"
        )
    names = G.class_names if G.num_classes else ()
    check_fit(networks, len(names), G.resolution, G.img_channels)
    if networks.D is None and state.frozen:
        raise InputError(
            f"training.freeze_discriminator_layers={state.config.training.freeze_discriminator_layers}: {networks.source} has "
            f"no discriminator, so its layers would stay random; start from a .pkl, an imported folder or a run"
        )
    matches = match_classes(networks.class_names, networks.G.num_classes, names)
    width = max(G.w_dim, D.cmap_dim)
    generator = torch.Generator().manual_seed(state.config.training.seed)
    noise = torch.randn(len(names), width, generator=generator).to(state.device)
    pairs: list[tuple[Generator | Discriminator | None, Generator | Discriminator]] = [
        (networks.G, G),
        (networks.G_ema, cast(Generator, state.G_ema)),
        (networks.D, D),
    ]
    for source, target in pairs:
        if source is not None:
            transfer(source.to(state.device), target, matches, noise, networks.source)
    if not networks.G.num_classes and names:
        # the freshly drawn class vectors of G are its average's, too
        state.G_ema.load_state_dict(
            state.G_ema.state_dict()
            | {k: v for k, v in state.G.state_dict().items() if k.startswith("mapping.embed.")}
        )
    return _sentence(networks, names, matches)


def _sentence(networks: InitialNetworks, names: Sequence[str], matches: Sequence[int | None]) -> str:
    text = f"starting from {networks.source}"
    if networks.D is None:
        text += " (generator only; the discriminator starts afresh)"
    if not names:
        return f"{text}: no classes"
    new = [name for name, match in zip(names, matches, strict=True) if match is None]
    if not networks.G.num_classes:
        return f"{text}: it has no classes; all {len(names)} are new"
    if networks.class_names is None and not new:
        return (
            f"{text}: it has no class names; its classes 0 to {len(names) - 1} become {', '.join(names[:5])}"
            + (", ..." if len(names) > 5 else "")
        )
    known = f"{len(names) - len(new)} of {len(names)} classes are known"
    listed = f"; new: {', '.join(new[:5])}{', ...' if len(new) > 5 else ''}" if new else ""
    return f"{text}: {known}{listed}"


__all__ = ["class_vectors", "match_classes", "start_from", "transfer"]
