"""CBGAN: a classifier in the loop tells the generator which classes it drops (Rangwani et al., UAI 2021)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from gan_lt.arguments import check_floating, check_integer, check_number
from gan_lt.class_names import all_composed
from gan_lt.errors import InputError
from gan_lt.processes import gather_rows, mean_over_processes
from gan_lt.regularizers.term import StepBatch, Term

StatisticsForm = Literal["convex", "decay"]

_LOGGED_CLASSES = 20  # with more, per-class figures would drown the log


def class_balance_loss(probs: Tensor, class_counts: Tensor | Sequence[float]) -> Tensor:
    """L = sum_k p_k log(p_k) u_k, with p_k the mean over the batch and u_k = (1 / N_k) * K / sum_j (1 / N_j).

    Minimising it raises the entropy of what the generator makes, the most in the classes it makes least.

    Args:
        probs: [B, K], the classifier's softmax outputs, floating, in [0, 1], rows that add up to 1.
        class_counts: [K], N_k, generated images seen as class k lately; taken as 1 where less.

    Returns:
        A scalar, float32 or better, at most 0. Value and gradient are finite at p_k = 0.

    Raises:
        ValueError: other shapes, probabilities outside [0, 1] or that don't add up to 1, a count that is negative
            or not finite.

    Source: Rangwani, Mopuri, Babu, "Class Balancing GAN with a Classifier in the Loop", UAI 2021.

    >>> class_balance_loss(torch.tensor([[0.5, 0.5]]), [10, 10])
    tensor(-0.6931)
    """
    _check_probabilities(probs)
    try:
        n = torch.as_tensor(class_counts, dtype=torch.float64, device=probs.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"class_counts={repr(class_counts)[:200]} must be numbers of images, [K]") from error
    if n.shape != probs.shape[1:]:
        raise InputError(f"class_counts has shape {list(n.shape)}, but probs has {probs.shape[1]} classes")
    bad = ~torch.isfinite(n) | (n < 0)
    if bool(bad.any()):
        k = int(bad.nonzero()[0, 0])
        raise InputError(f"class_counts[{k}]={float(n[k])} is no number of images: it must be 0 or more")
    return weighted_negative_entropy(probs, n)


def weighted_negative_entropy(probs: Tensor, class_counts: Tensor) -> Tensor:
    """`class_balance_loss` without its checks, which would wait for the device."""
    p = (probs if probs.dtype == torch.float64 else probs.float()).mean(dim=0)
    inverse = 1 / class_counts.clamp(min=1)
    u = inverse * (len(inverse) / inverse.sum())
    # clamped, not shifted: exact wherever p is a normal number, and the gradient at 0 is log(tiny), not -inf
    log_p = p.clamp(min=torch.finfo(p.dtype).tiny).log()
    return (p * log_p * u.to(p.dtype)).sum()


def kl_to_uniform(histogram: Tensor) -> float:
    """KL(histogram || uniform) in nats, 0 (level) to log K (one class only); nan for an empty histogram.

    Args:
        histogram: [K], images of each class, any scale.
    """
    total = float(histogram.sum())
    if total == 0:
        return math.nan
    q = histogram.double() / total
    return float(torch.xlogy(q, q * len(q)).sum())


class ClassStatistics(nn.Module):
    """N_k: how many generated images were seen as class k lately, from cycle to cycle.

    Labels are gathered over a cycle, at whose end, with c_k images gathered and a = decay,

    - form "convex": N_k <- (1 - a) N_k + a c_k, a running mean of images a cycle;
    - form "decay": N_k <- a N_k + c_k, a sum in which each older cycle counts a times less;

    then N_k is raised to 1 where it is less. It starts uniform, N_k = 1. A cycle without images changes nothing.

    Args:
        num_classes: K, at least 1.
        decay: a, in [0, 1].
        form: "convex" or "decay".

    Attributes:
        counts: N_k, float64 [K].
        gathered: c_k so far in this cycle, int64 [K].

    Raises:
        ValueError: an argument out of range.

    >>> ClassStatistics(3, decay=0.5).update(torch.tensor([0, 0, 0, 0, 0, 1])).counts
    tensor([3., 1., 1.], dtype=torch.float64)
    """

    counts: Tensor
    gathered: Tensor

    def __init__(self, num_classes: int, decay: float = 0.5, form: StatisticsForm = "convex") -> None:
        super().__init__()
        check_integer(num_classes, "num_classes", 1)
        check_number(decay, "decay")
        if not 0 <= decay <= 1:
            raise InputError(f"decay={decay} must be in [0, 1]")
        if form not in get_args(StatisticsForm):
            raise InputError(f"form={form!r} is not known: it must be 'convex' or 'decay'")
        self.num_classes, self.decay, self.form = num_classes, decay, form
        self.register_buffer("counts", torch.ones(num_classes, dtype=torch.float64))
        self.register_buffer("gathered", torch.zeros(num_classes, dtype=torch.int64))

    def update(self, labels: Tensor | Sequence[int]) -> Self:
        """Apply the labels (int [n], 0..K-1) of one whole cycle: gather them, then end the cycle.

        Raises:
            ValueError: labels that are not a vector of integers in 0..K-1.
        """
        y = torch.as_tensor(labels, device=self.gathered.device)
        if y.numel() == 0:
            y = y.to(torch.int64)
        if y.ndim != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
            raise InputError(f"labels must be integers [n], got {y.dtype} of shape {list(y.shape)}")
        outside = (y < 0) | (y >= self.num_classes)
        if bool(outside.any()):
            raise InputError(f"label {int(y[outside][0])} is outside 0..{self.num_classes - 1}")
        self.gather(y.to(torch.int64))
        return self.end_cycle()

    @torch.no_grad()
    def gather(self, labels: Tensor) -> None:
        """Count labels (int64 [n], trusted to be in 0..K-1) into this cycle, without waiting for the device."""
        self.gathered.index_add_(0, labels, torch.ones_like(labels))

    @torch.no_grad()
    def end_cycle(self) -> Self:
        """Bring what was gathered into N_k and begin the next cycle."""
        c = self.gathered.to(self.counts.dtype)
        old = 1 - self.decay if self.form == "convex" else self.decay
        new = self.decay if self.form == "convex" else 1.0
        updated = (old * self.counts + new * c).clamp(min=1)
        self.counts.copy_(torch.where(c.sum() > 0, updated, self.counts))
        self.gathered.zero_()
        return self


class ClassBalance(Term):
    """The term: a frozen classifier looks at every image of the generator step.

    The classifier is copied, put into evaluation mode, moved with the term and not saved with it: gradient
    flows through it into the generator, never into its weights, and its statistics stay. The statistics N_k
    are buffers and are saved.

    Args:
        classifier: images [N, C, H, W] in [-1, 1] -> logits [N, K]; normalises its input itself.
        num_classes: K.
        weight: lambda [the paper's 10 for CIFAR-10 at ratios 10 and 100; 0.5 to 10 are worth trying].
        decay, form: of `ClassStatistics`.
        cycle: generator steps over which labels are gathered.
        class_names: names of the K classes in the log; their indices by default.

    Raises:
        ValueError: a negative weight, a cycle under 1, a decay out of range, an unknown form.
    """

    recent: Tensor

    def __init__(
        self,
        classifier: nn.Module,
        num_classes: int,
        weight: float = 10.0,
        decay: float = 0.5,
        form: StatisticsForm = "convex",
        cycle: int = 2000,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name="cbgan", weight=weight)
        if cycle < 1:
            raise InputError(f"cbgan: cycle={cycle} must be at least 1 step")
        self.num_classes, self.cycle = num_classes, cycle
        self.class_names = [str(k) for k in range(num_classes)] if class_names is None else list(class_names)
        self.class_statistics = ClassStatistics(num_classes, decay, form)
        self.register_buffer("recent", torch.zeros(num_classes, dtype=torch.int64))
        # in a tuple nn.Module doesn't see it: it is not saved, and train() doesn't reach it
        self._classifier = (copy.deepcopy(classifier).eval().requires_grad_(False),)
        self._ended_at = 0

    @property
    def classifier(self) -> nn.Module:
        """The frozen copy."""
        return self._classifier[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.classifier._apply(fn)  # type: ignore[no-untyped-call]
        return self

    def generator_loss(self, batch: StepBatch) -> Tensor | None:
        # the first round of a step that begins a cycle; after a resume too, since checkpoints lie between steps
        if batch.step % self.cycle == 0 and batch.step > 0 and batch.step != self._ended_at:
            self.class_statistics.end_cycle()
            self._ended_at = batch.step
        logits = self.classifier(batch.fake).float()
        seen_as = gather_rows(logits.detach().argmax(dim=1))
        self.class_statistics.gather(seen_as)
        self.recent.index_add_(0, seen_as, torch.ones_like(seen_as))
        # one mean over the batch of all processes: the entropy is not linear in it
        probs = mean_over_processes(logits.softmax(dim=1).mean(dim=0, keepdim=True))
        return weighted_negative_entropy(probs, self.class_statistics.counts)

    def statistics(self) -> dict[str, float]:
        """Of the images since the last call: KL(histogram || uniform); N_k of each class, for up to 20 classes."""
        figures = {}
        if bool(self.recent.any()):
            figures["kl_to_uniform"] = kl_to_uniform(self.recent)
            self.recent.zero_()
        if self.num_classes <= _LOGGED_CLASSES:
            counts = self.class_statistics.counts.tolist()
            figures |= {f"count/{name}": n for name, n in zip(self.class_names, counts, strict=True)}
        return figures


def load_class_balance(
    classifier: str | None, generator: nn.Module, counts: Sequence[int], **settings: Any
) -> ClassBalance:
    """The term with the classifier saved in a folder, checked against the generator it will judge.

    Args:
        classifier: the folder that `gan-lt classifier train` wrote.
        generator: with `resolution` and `img_channels`, and `class_names` where it knows them.
        counts: training images of each class, [K].
        settings: the other arguments of `ClassBalance`.

    Raises:
        InputError: no folder given or none there, or a classifier of other images or classes.
    """
    from gan_lt.classifier.network import Classifier  # it uses this package's class weights

    if classifier is None:
        raise InputError(
            "cbgan.classifier is missing: train one with `gan-lt classifier train --data DATA --outdir DIR` and pass "
            "cbgan.classifier=DIR"
        )
    C = Classifier.from_pretrained(classifier)
    expected = {"resolution": C.resolution, "img_channels": C.img_channels}
    for name, value in expected.items():
        found = getattr(generator, name, value)
        if found != value:
            raise InputError(
                f"cbgan.classifier {classifier}: its {name} is {value}, the generator's {found}; train one on such images"
            )
    if C.num_classes != len(counts):
        raise InputError(
            f"cbgan.classifier {classifier}: it knows {C.num_classes} classes, the data has {len(counts)}; train one on it"
        )
    known = getattr(generator, "class_names", None)
    if C.class_names and known and all_composed(C.class_names) != all_composed(known):
        pairs = zip(all_composed(C.class_names), all_composed(known), strict=True)
        k = next(i for i, (a, b) in enumerate(pairs) if a != b)
        raise InputError(
            f"cbgan.classifier {classifier}: its class {k} is {C.class_names[k]!r}, the data's {known[k]!r}; train one on it"
        )
    return ClassBalance(C, len(counts), class_names=C.class_names, **settings)


def _check_probabilities(probs: Tensor) -> None:
    check_floating(probs, "probs", "[B, K]")
    if probs.ndim != 2 or 0 in probs.shape:
        raise InputError(f"probs must be floating [B, K], got {probs.dtype} of shape {list(probs.shape)}")
    values = probs.detach().double()
    bad = ~((values >= -1e-4) & (values <= 1 + 1e-2))
    if bool(bad.any()):
        b, k = bad.nonzero()[0].tolist()
        raise InputError(
            f"probs[{b}, {k}]={float(values[b, k])} is no probability; pass the softmax of the logits"
        )
    sums = values.sum(dim=1)
    off = (sums - 1).abs() > 0.02  # a softmax in bfloat16 is off by that much
    if bool(off.any()):
        b = int(off.nonzero()[0, 0])
        raise InputError(f"probs[{b}] adds up to {float(sums[b])}, not 1; pass the softmax of the logits")
