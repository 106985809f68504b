"""One training step: the discriminator's half and the generator's half, in the papers' symbols.

Here is the whole algorithm and nothing else: no devices, logging, files or schedules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_lt.augment import Augmentation
from gan_lt.errors import InputError
from gan_lt.losses import AdversarialLoss, PathLength, gradient_penalty
from gan_lt.models import GeneratorPass, ImageDiscriminator, ImageGenerator
from gan_lt.processes import gather_rows, mean_over_processes
from gan_lt.regularizers import Latents, Phase, StepBatch, Term


@dataclass(frozen=True)
class Objective:
    """What is minimised: the adversarial loss, its penalties, the augmentation and the methods' terms.

    style_mixing: probability that an image takes its last layers from a second w.
    """

    adversarial: AdversarialLoss
    terms: Sequence[Term]
    augment: Augmentation
    path_length: PathLength
    r1_gamma: float
    r2_gamma: float
    path_length_weight: float
    style_mixing: float


def prepare_latents(objective: Objective, latents: Latents, phase: Phase, step: int) -> Latents:
    """Latents of the whole batch as every term wants them, in order -> this process's rows of them."""
    for term in objective.terms:
        latents = term.prepare(latents, phase, step)
    return latents.own_rows()


def run_generator(G: ImageGenerator, objective: Objective, latents: Latents) -> GeneratorPass:
    """A generator pass from prepared latents, with all that the terms ask for."""
    sizes = {term.low_resolution for term in objective.terms} - {None}
    return G.generate(
        latents.z,
        latents.y,
        latents.embedding_noise,
        objective.style_mixing,
        low_resolution=next(iter(sizes), None),
    )


def adversarial_weight(objective: Objective, step: int) -> float:
    """What the adversarial loss of D's logits counts, by the terms' wish; 1 without."""
    return math.prod(term.adversarial_weight(step) for term in objective.terms)


def verdict(objective: Objective, logits: Tensor, features: Tensor, step: int) -> Tensor:
    """The logits that stand for D's whole verdict: what R1 and R2 penalise and ADA watches."""
    for term in objective.terms:
        logits = term.verdict(logits, features, step)
    return logits


def discriminator_step(
    G: ImageGenerator,
    D: ImageDiscriminator,
    objective: Objective,
    real: Tensor,
    labels: Tensor,
    latents: Latents,
    step: int,
    penalty_factor: float,
) -> dict[str, Tensor]:
    """Losses of the discriminator on one batch, ready to be added up and differentiated.

    Args:
        real: [N, C, H, W] in [-1, 1]. labels: int64 [N].
        latents: of the generated images, not yet prepared by the terms.
        step: optimizer steps made so far.
        penalty_factor: steps between penalties in a step that has them (lazy regularisation), 0 in the others.

    Returns:
        Scalars by name; "loss" is their weighted sum, the others are for the log.
    """
    y_real = None if latents.y is None else labels
    with torch.no_grad():
        latents = prepare_latents(objective, latents, "discriminator", step)
        fake, w, _, small = run_generator(G, objective, latents)
        G.track_centre(latents.z, latents.y, w, latents.embedding_noise)
    real_seen, fake_seen = objective.augment(real), objective.augment(fake)
    use_r1 = penalty_factor > 0 and objective.r1_gamma > 0
    use_r2 = penalty_factor > 0 and objective.r2_gamma > 0
    real_seen = real_seen.detach().requires_grad_(use_r1)
    fake_seen = fake_seen.detach().requires_grad_(use_r2)
    (logits_real, features_real), (logits_fake, features_fake) = (
        D.judge(real_seen, y_real),
        D.judge(fake_seen, latents.y),
    )
    verdict_real = verdict(objective, logits_real, features_real, step)
    objective.augment.observe(verdict_real)
    losses = {"adversarial": objective.adversarial.discriminator(logits_fake, logits_real).mean()}
    total = adversarial_weight(objective, step) * losses["adversarial"]
    if use_r1:
        losses["r1"] = gradient_penalty(real_seen, verdict_real).mean()
        total = total + penalty_factor * objective.r1_gamma / 2 * losses["r1"]
    if use_r2:
        verdict_fake = verdict(objective, logits_fake, features_fake, step)
        losses["r2"] = gradient_penalty(fake_seen, verdict_fake).mean()
        total = total + penalty_factor * objective.r2_gamma / 2 * losses["r2"]
    batch = StepBatch(
        "discriminator",
        step,
        latents,
        w,
        fake,
        logits_fake,
        real=real,
        real_labels=y_real,
        real_logits=logits_real,
        fake_features=features_fake,
        real_features=features_real,
        low_resolution=small,
    )
    total = _add_terms(losses, total, ((term, term.discriminator_loss(batch)) for term in objective.terms))
    losses["logits_real"] = logits_real.mean()
    losses["logits_fake"] = logits_fake.mean()
    losses["sign_real"] = logits_real.sign().mean()
    return {"loss": total, **losses}


def generator_step(
    G: ImageGenerator,
    D: ImageDiscriminator,
    objective: Objective,
    latents: Latents,
    real: Tensor | None,
    labels: Tensor | None,
    step: int,
    path_length_factor: float,
) -> dict[str, Tensor]:
    """Losses of the generator on one batch, as `discriminator_step` returns them.

    real, labels: for relativistic losses, else None. path_length_factor: steps between path-length penalties in a step
    that has one, 0 in the others.
    """
    latents = prepare_latents(objective, latents, "generator", step)
    fake, w, ws, small = run_generator(G, objective, latents)
    logits_fake, features_fake = D.judge(objective.augment(fake), latents.y)
    logits_real = features_real = None
    if latents.origin is not None and real is not None and labels is not None:
        # real and generated images are compared pair by pair, so both follow the terms' rearrangement
        real, labels = gather_rows(real)[latents.origin], gather_rows(labels)[latents.origin]
    y_real = None if latents.y is None else labels
    if objective.adversarial.relativistic and real is not None:
        with torch.no_grad():
            logits_real, features_real = D.judge(objective.augment(real), y_real)
    losses = {"adversarial": objective.adversarial.generator(logits_fake, logits_real).mean()}
    total = adversarial_weight(objective, step) * losses["adversarial"]
    losses["w_spread"] = spread(w.detach())
    if path_length_factor > 0 and objective.path_length_weight > 0:
        losses["path_length"] = objective.path_length(fake, ws).mean()
        total = total + path_length_factor * objective.path_length_weight * losses["path_length"]
    batch = StepBatch(
        "generator",
        step,
        latents,
        w,
        fake,
        logits_fake,
        real=real,
        real_labels=y_real,
        real_logits=logits_real,
        fake_features=features_fake,
        real_features=features_real,
        low_resolution=small,
    )
    total = _add_terms(losses, total, ((term, term.generator_loss(batch)) for term in objective.terms))
    return {"loss": total, **losses}


def spread(w: Tensor) -> Tensor:
    """Mean standard deviation of w [N, w_dim] over the batch of all processes; falls to 0 where w collapses."""
    w = w.float()
    mean, square = mean_over_processes(torch.stack([w.mean(dim=0), w.square().mean(dim=0)]))
    deviation: Tensor = (square - mean.square()).clamp(min=0).sqrt().mean()
    return deviation


def _add_terms(
    losses: dict[str, Tensor], total: Tensor, terms: Iterable[tuple[Term, Tensor | None]]
) -> Tensor:
    for term, value in terms:
        if value is not None:
            if not isinstance(value, Tensor) or value.ndim > 0:
                found = (
                    f"a tensor of shape {list(value.shape)}"
                    if isinstance(value, Tensor)
                    else repr(value)[:80]
                )
                raise InputError(
                    f"{term.name}: its loss is {found}; a method's loss must be a scalar tensor, as value.mean() gives, or None"
                )
            losses[term.name] = value
            total = total + term.weight * value
    return total
