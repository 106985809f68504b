"""Everything a run has to remember, as one object with one save and one load."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gan_lt.augment import AdaptiveAugmentation, Augmentation, DiffAugment
from gan_lt.config import AugmentConfig, TrainConfig
from gan_lt.data import BatchLoader, ImageSet, sampler_for
from gan_lt.errors import InputError
from gan_lt.losses import ADVERSARIAL_LOSSES, PathLength
from gan_lt.models import (
    Discriminator,
    Generator,
    ImageDiscriminator,
    ImageGenerator,
    SnganDiscriminator,
    SnganGenerator,
)
from gan_lt.models.precision import compute_dtype, set_compute_dtype
from gan_lt.processes import gather_rows, keep_groups_of, own_rows, rank, world_size
from gan_lt.regularizers import Latents, TermContext, build_terms, generator_form
from gan_lt.training.distributed import check_batch
from gan_lt.training.fit import check_fit, settings_of
from gan_lt.training.guard import StepGuard
from gan_lt.training.step import Objective


class TrainingState:
    """Networks, optimizers, running averages, data order and counters of one run.

    Attributes:
        G, D: the networks in training. G_ema: the running average of G, which is saved and sampled.
        frozen: parameters of D that stay as they are.
        optimizer_g, optimizer_d: Adam. objective: what is minimised. loader: batches of real images.
        guard: skips steps that are not finite. step: optimizer steps made. images_seen: real images shown to the discriminator.
    """

    def __init__(self, config: TrainConfig, images: ImageSet, device: torch.device) -> None:
        self.config, self.device = config, device
        keep_groups_of(config.discriminator.mbstd_group_size)
        torch.manual_seed(config.training.seed)
        self.G, self.D = build_networks(config, images)
        if device.type == "cpu":
            # oneDNN's and our own kernels are fastest on NHWC
            self.G.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.D.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen = frozen_parameters(self.D, config.training.freeze_discriminator_layers)
        self.G.to(device).train()
        self.D.to(device).train()
        # the average keeps float32: it is measured and saved
        dtype = compute_dtype(config.training.precision, device)
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        for network in (self.G, self.D):
            set_compute_dtype(network, dtype)
        optimizer = config.optimizer
        betas = (optimizer.beta1, optimizer.beta2)
        self.optimizer_g = torch.optim.Adam(
            self.G.parameters(), lr=optimizer.generator_lr, betas=betas, eps=optimizer.eps, fused=True
        )
        frozen = {id(parameter) for parameter in self.frozen}
        self.optimizer_d = torch.optim.Adam(
            [p for p in self.D.parameters() if id(p) not in frozen],
            lr=optimizer.discriminator_lr,
            betas=betas,
            eps=optimizer.eps,
            fused=True,
        )
        augment = augmentation(config.augment).to(device)
        contexts = {
            name: TermContext(
                counts=images.counts.tolist(),
                generator=self.G,
                discriminator=self.D,
                adversarial=ADVERSARIAL_LOSSES[config.loss.adversarial],
                augment=augment.forward,  # bound, so that it doesn't become a part of the term
                conditioning=self.G.conditioning_parameters,
                w_dim=self.G.w_dim,
                settings=getattr(config, name).model_dump(),
            )
            for name in config.regularizers
        }
        terms = [term.to(device) for term in build_terms(config.regularizers, contexts)]
        if heads := [parameter for term in terms for parameter in term.parameters()]:
            self.optimizer_d.add_param_group({"params": heads})
        self.objective = Objective(
            adversarial=ADVERSARIAL_LOSSES[config.loss.adversarial],
            terms=terms,
            augment=augment,
            path_length=PathLength().to(device),
            r1_gamma=config.loss.r1_gamma,
            r2_gamma=config.loss.r2_gamma,
            path_length_weight=config.loss.path_length_weight,
            style_mixing=config.training.style_mixing,
        )
        check_batch(config)
        rows = own_rows(config.training.round)
        self.loader = BatchLoader(
            images,
            sampler_for(
                images, config.data.sampler, beta=config.data.sampler_beta, seed=config.training.seed
            ),
            len(rows),
            horizontal_flips=config.data.horizontal_flips,
            seed=config.training.seed,
            num_workers=config.data.workers,
            device=device,
            rank=rank(),
            world_size=world_size(),
            rows=rows,
        )
        self.fingerprint = images.fingerprint()
        self._class_weights = torch.as_tensor(images.counts, dtype=torch.float32, device=device)
        if config.training.generated_labels == "uniform":
            self._class_weights = torch.ones_like(self._class_weights)
        self.guard = StepGuard()
        self.step = 0
        self.images_seen = 0

    def draw_latents(self, labels: Tensor | None = None) -> Latents:
        """Latents of one round of all processes: standard normal z, and classes as configured.

        labels: int64 [rows of this process], to be used instead.
        """
        n = self.config.training.round
        z = torch.randn(n, self.G.z_dim, device=self.device)
        if not self.config.generator.conditional:
            return Latents(z, None)
        if labels is None:
            labels = torch.multinomial(self._class_weights, n, replacement=True)
        else:
            labels = gather_rows(labels)
        return Latents(z, labels)

    def next_real(self) -> tuple[Tensor, Tensor]:
        """(images [N, C, H, W] float32 in [-1, 1], labels int64 [N]): this process's rows of a round."""
        images, labels = next(self.loader)
        return images.to(self.device, torch.float32) / 127.5 - 1, labels.to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and texts from which `load_state_dict` goes on exactly."""
        state: dict[str, Any] = {
            "step": self.step,
            "images_seen": self.images_seen,
            "fingerprint": self.fingerprint,
            "settings": settings_of(self.config),
            "G": self.G.state_dict(),
            "D": self.D.state_dict(),
            "G_ema": self.G_ema.state_dict(),
            "optimizer_g": self.optimizer_g.state_dict(),
            "optimizer_d": self.optimizer_d.state_dict(),
            "path_length": self.objective.path_length.state_dict(),
            "augment": self.objective.augment.state_dict(),
            "terms": {term.name: term.state_dict() for term in self.objective.terms},
            "loader": self.loader.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["rng_cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            InputError: the training images are not those of the run, or its configuration was changed to another network.
        """
        if state.get("fingerprint") != self.fingerprint:
            raise InputError(
                "--resume: the training images have changed since this run began; restore them, or start a new run"
            )
        parts: dict[str, nn.Module] = {"G": self.G, "D": self.D, "G_ema": self.G_ema}
        parts |= {"path_length": self.objective.path_length, "augment": self.objective.augment}
        parts |= {f"terms.{term.name}": term for term in self.objective.terms}
        # checkpoints from before ADA have none
        state = {"augment": {}, **state}
        check_fit(
            parts, {"optimizer_g": self.optimizer_g, "optimizer_d": self.optimizer_d}, state, self.config
        )
        self.step, self.images_seen = state["step"], state["images_seen"]
        self.G.load_state_dict(state["G"])
        self.D.load_state_dict(state["D"])
        self.G_ema.load_state_dict(state["G_ema"])
        _load_optimizer(self.optimizer_g, state["optimizer_g"])
        _load_optimizer(self.optimizer_d, state["optimizer_d"])
        self.objective.path_length.load_state_dict(state["path_length"])
        self.objective.augment.load_state_dict(state["augment"])
        for term in self.objective.terms:
            term.load_state_dict(state["terms"][term.name])
        self.loader.load_state_dict(state["loader"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "rng_cuda" in state:
            torch.cuda.set_rng_state(state["rng_cuda"], self.device)


def _load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load `saved`, each moment laid out in memory as its parameter: fused Adam walks both side by side."""
    optimizer.load_state_dict(dict(saved))
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


def build_networks(config: TrainConfig, images: ImageSet) -> tuple[ImageGenerator, ImageDiscriminator]:
    """Generator and discriminator of the configured form for these images."""
    g = config.generator
    num_classes = images.num_classes if g.conditional else 0
    if config.backbone == "sngan":
        return build_sngan(config, images, num_classes)
    form = generator_form(config.regularizers, {name: getattr(config, name) for name in config.regularizers})
    if form.get("unconditional_resolution", 0) >= images.resolution:
        raise InputError(
            f"utlo.resolution={form['unconditional_resolution']} must be below the images' {images.resolution}"
        )
    G = Generator(
        z_dim=g.z_dim,
        num_classes=num_classes,
        w_dim=g.w_dim,
        resolution=images.resolution,
        img_channels=images.channels,
        channel_base=g.channel_base,
        channel_max=g.channel_max,
        mapping_layers=g.mapping_layers,
        architecture=g.architecture,
        mapping_lr_multiplier=g.mapping_lr_multiplier,
        noise_inputs=g.noise_inputs,
        conv_clamp=g.conv_clamp,
        w_avg_beta=g.w_avg_beta,
        class_names=images.class_names,
        class_counts=images.counts.tolist(),
        **form,
    )
    return G, build_discriminator(config, num_classes, images.resolution, images.channels)


def build_discriminator(
    config: TrainConfig, num_classes: int, resolution: int, img_channels: int
) -> Discriminator:
    """The configured discriminator for images of this form; num_classes is 0 for an unconditional one."""
    g, d = config.generator, config.discriminator
    return Discriminator(
        num_classes=num_classes,
        resolution=resolution,
        img_channels=img_channels,
        channel_base=d.channel_base or g.channel_base,
        channel_max=d.channel_max or g.channel_max,
        architecture=d.architecture,
        mbstd_group_size=d.mbstd_group_size,
        mapping_layers=d.mapping_layers,
        conv_clamp=d.conv_clamp,
        mbstd_channels=d.mbstd_channels,
        cmap_dim=d.cmap_dim,
    )


def frozen_parameters(D: ImageDiscriminator, blocks: int) -> list[torch.nn.Parameter]:
    """The parameters of D's first `blocks` blocks, those of the highest resolutions (Mo et al., 2020, "FreezeD").

    Raises:
        InputError: D has fewer blocks, or another backbone.
    """
    if blocks == 0:
        return []
    if not isinstance(D, Discriminator):
        raise InputError(
            f"training.freeze_discriminator_layers={blocks} needs backbone=stylegan2; set it to 0"
        )
    if blocks > len(D.blocks):
        raise InputError(
            f"training.freeze_discriminator_layers={blocks}: the discriminator has {len(D.blocks)} blocks above 4x4; "
            f"freeze so many at most"
        )
    return [parameter for block in D.blocks[:blocks] for parameter in block.parameters()]


def build_sngan(
    config: TrainConfig, images: ImageSet, num_classes: int
) -> tuple[ImageGenerator, ImageDiscriminator]:
    """As `build_networks`, of the sngan backbone.

    Raises:
        InputError: images of a size that it does not have.
    """
    channels = config.sngan.channels
    try:
        G = SnganGenerator(
            z_dim=config.generator.z_dim,
            num_classes=num_classes,
            resolution=images.resolution,
            img_channels=images.channels,
            channels=channels,
            class_names=images.class_names,
            class_counts=images.counts.tolist(),
        )
    except ValueError as error:
        raise InputError(f"backbone=sngan: {error}; pass data.resolution=N") from error
    return G, SnganDiscriminator(num_classes, images.resolution, images.channels, channels)


def augmentation(config: AugmentConfig) -> Augmentation:
    """The configured augmentation."""
    if config.name == "none":
        return Augmentation()
    if config.name == "ada":
        return AdaptiveAugmentation(**config.ada.model_dump())
    return DiffAugment(config.policy)
