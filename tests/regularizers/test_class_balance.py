"""CBGAN: the loss against its formula, the statistics from cycle to cycle, and a classifier that stays as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_lt.classifier import Classifier
from gan_lt.errors import InputError
from gan_lt.regularizers.class_balance import (
    ClassBalance,
    ClassStatistics,
    class_balance_loss,
    kl_to_uniform,
    load_class_balance,
)
from gan_lt.regularizers.term import Latents, StepBatch


def by_hand(probs: Tensor, counts: Tensor) -> float:
    p = probs.double().numpy().mean(axis=0)
    n = np.maximum(counts.double().numpy(), 1)
    u = (1 / n) * len(n) / (1 / n).sum()
    return float(sum(p_k * np.log(p_k) * u_k for p_k, u_k in zip(p, u, strict=True) if p_k > 0))


def softmax_probs(b: int, k: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(b, k, generator=generator, dtype=torch.float64)).softmax(dim=1)


def step_batch(fake: Tensor, step: int = 0) -> StepBatch:
    n = len(fake)
    return StepBatch(
        "generator", step, Latents(torch.zeros(n, 2), None), torch.zeros(n, 2), fake, torch.zeros(n)
    )


class ByPosition(nn.Module):
    """Images [N, 1, 1, K] -> logits: the pixels themselves, with a weight and a batch norm that could change."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.norm = nn.BatchNorm1d(k)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.scale * self.norm(images.flatten(1))
        return logits


@pytest.mark.parametrize(("b", "k"), [(1, 2), (7, 3), (64, 100)])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_value(b: int, k: int, dtype: torch.dtype, rtol: float) -> None:
    probs = softmax_probs(b, k)
    counts = torch.randint(0, 500, [k], generator=torch.Generator().manual_seed(1))
    loss = class_balance_loss(probs.to(dtype), counts)
    assert loss.dtype == dtype
    assert float(loss) == pytest.approx(by_hand(probs, counts), rel=rtol)


def test_balanced_counts_give_the_negative_entropy() -> None:
    assert float(class_balance_loss(torch.full([3, 8], 1 / 8), [40] * 8)) == pytest.approx(-math.log(8))


def test_permuting_classes_changes_nothing() -> None:
    probs, counts = softmax_probs(9, 6), torch.tensor([1.0, 5, 200, 30, 9, 2])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(
        class_balance_loss(probs[:, order], counts[order]), class_balance_loss(probs, counts)
    )


def test_counts_are_at_least_one() -> None:
    probs = softmax_probs(4, 3)
    assert class_balance_loss(probs, [0, 0.5, 9]) == class_balance_loss(probs, [1, 1, 9])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_where_a_class_has_no_probability(dtype: torch.dtype) -> None:
    probs = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], dtype=dtype, requires_grad=True)
    loss = class_balance_loss(probs, [1000, 1, 1])
    loss.backward()
    assert float(loss) == pytest.approx(by_hand(probs.detach(), torch.tensor([1000, 1, 1])), rel=1e-5)
    assert probs.grad is not None
    assert torch.isfinite(probs.grad).all()
    assert (probs.grad[:, 2] < probs.grad[:, 1]).all()  # downhill is towards the class that is missing


def test_gradient_against_finite_differences() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: class_balance_loss(x.softmax(dim=1), [3, 70, 1, 12]), logits.requires_grad_()
    )


def test_rare_classes_pull_more() -> None:
    probs = torch.full([2, 3], 1 / 3, requires_grad=True)
    class_balance_loss(probs, [100, 10, 1]).backward()
    assert probs.grad is not None
    pull = probs.grad[0] / (math.log(1 / 3) + 1)
    torch.testing.assert_close(pull / pull[0], torch.tensor([1.0, 10.0, 100.0]), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("probs", "counts", "shown"),
    [
        (torch.zeros(3), [1, 1, 1], r"\[3\]"),
        (torch.zeros(0, 3), [1, 1, 1], r"\[0, 3\]"),
        (torch.tensor([[1, 0]]), [1, 1], "int64"),
        (torch.tensor([[1.5, -0.5]]), [1, 1], "1.5"),
        (torch.tensor([[float("nan"), 1.0]]), [1, 1], "nan"),
        (torch.tensor([[0.5, 0.1]]), [1, 1], "0.6"),
        (torch.tensor([[0.5, 0.5]]), [1, 1, 1], "2 classes"),
        (torch.tensor([[0.5, 0.5]]), [1, -7], "-7"),
        (torch.tensor([[0.5, 0.5]]), [1, float("inf")], "inf"),
    ],
)
def test_bad_input_is_named(probs: Tensor, counts: list[float], shown: str) -> None:
    with pytest.raises(ValueError, match=shown):
        class_balance_loss(probs, counts)


def test_statistics_start_uniform() -> None:
    assert ClassStatistics(4, decay=0.5).counts.tolist() == [1, 1, 1, 1]
    assert ClassStatistics(1).update([0, 0, 0]).counts.tolist() == [2]


@pytest.mark.parametrize(
    ("form", "decay", "first", "second"),
    [
        ("convex", 0.5, [3.0, 1.0, 1.0], [1.5, 1.0, 2.5]),
        ("convex", 0.25, [2.0, 1.0, 1.0], [1.5, 1.0, 1.75]),
        ("convex", 1.0, [5.0, 1.0, 1.0], [1.0, 1.0, 4.0]),
        ("convex", 0.0, [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
        ("decay", 0.5, [5.5, 1.5, 1.0], [2.75, 1.0, 4.5]),
        ("decay", 0.0, [5.0, 1.0, 1.0], [1.0, 1.0, 4.0]),
    ],
)
def test_statistics_from_cycle_to_cycle(
    form: str, decay: float, first: list[float], second: list[float]
) -> None:
    statistics = ClassStatistics(3, decay, form)  # type: ignore[arg-type]
    assert statistics.update(torch.tensor([0, 0, 0, 0, 0, 1])).counts.tolist() == first
    assert statistics.update([2, 2, 2, 2]).counts.tolist() == second


def test_gathering_in_parts_is_one_cycle() -> None:
    labels = torch.randint(0, 5, [100], generator=torch.Generator().manual_seed(0))
    parts = ClassStatistics(5)
    for part in labels.split(17):
        parts.gather(part)
    assert parts.counts.tolist() == [1] * 5  # nothing is applied before the end
    torch.testing.assert_close(parts.end_cycle().counts, ClassStatistics(5).update(labels).counts)
    assert parts.gathered.tolist() == [0] * 5


def test_a_cycle_without_images_changes_nothing() -> None:
    statistics = ClassStatistics(2).update([0] * 9)
    assert statistics.update(torch.tensor([])).counts.tolist() == [5, 1]


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (torch.tensor([0, 3]), r"label 3 is outside 0\.\.2$"),
        ([-1], "label -1"),
        (torch.tensor([0.5]), "float32"),
        (torch.tensor([1j]), "complex64"),
        (torch.tensor([True]), "bool"),
        (torch.zeros(2, 2), r"\[2, 2\]"),
    ],
)
def test_bad_labels_are_named(labels: Tensor, shown: str) -> None:
    with pytest.raises(ValueError, match=shown):
        ClassStatistics(3, 0.5).update(labels)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [((0, 0.5), "num_classes=0"), ((3, 1.5), "decay=1.5"), ((3, 0.5, "mean"), "'mean'")],
)
def test_bad_settings_are_named(arguments: tuple[int, float], shown: str) -> None:
    with pytest.raises(ValueError, match=shown):
        ClassStatistics(*arguments)


def test_kl_to_uniform() -> None:
    assert kl_to_uniform(torch.tensor([5, 5, 5])) == pytest.approx(0)
    assert kl_to_uniform(torch.tensor([0, 7, 0])) == pytest.approx(math.log(3))
    assert math.isnan(kl_to_uniform(torch.zeros(3)))


def test_the_classifier_stays_and_the_images_get_the_gradient() -> None:
    torch.manual_seed(0)
    classifier = Classifier(3, resolution=8, img_channels=1).train()
    before = {name: t.clone() for name, t in classifier.state_dict().items()}
    term = ClassBalance(classifier, 3).train()
    inside = {name: t.clone() for name, t in term.classifier.state_dict().items()}
    fake = torch.randn(6, 1, 8, 8, requires_grad=True)
    loss = term.generator_loss(step_batch(fake))
    assert loss is not None
    loss.backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert not term.classifier.training
    assert all(p.grad is None for p in [*classifier.parameters(), *term.classifier.parameters()])
    assert list(term.parameters()) == []
    for state, network in ((before, classifier), (inside, term.classifier)):
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, state[name]), name
    assert set(term.state_dict()) == {"class_statistics.counts", "class_statistics.gathered", "recent"}


def test_the_classifier_moves_with_the_term() -> None:
    term = ClassBalance(ByPosition(3), 3).to(torch.float64)
    assert all(p.dtype == torch.float64 for p in term.classifier.parameters())


def test_cycles_end_once_a_step_and_survive_a_resume() -> None:
    def run(term: ClassBalance, steps: range) -> None:
        for step in steps:
            for part in range(2):  # two rounds a step
                noise = torch.randn(8, 1, 1, 3, generator=torch.Generator().manual_seed(10 * step + part))
                term.generator_loss(step_batch(noise, step))

    whole, first, second = (ClassBalance(ByPosition(3), 3, cycle=4) for _ in range(3))
    run(whole, range(4))
    assert whole.class_statistics.counts.tolist() == [1, 1, 1]
    assert int(whole.class_statistics.gathered.sum()) == 4 * 2 * 8
    run(whole, range(4, 10))
    assert int(whole.class_statistics.gathered.sum()) == 2 * 2 * 8
    for resume_at in (4, 6):  # at the end of a cycle and within one
        run(first, range(resume_at))
        second.load_state_dict(first.state_dict())
        run(second, range(resume_at, 10))
        for name, tensor in whole.state_dict().items():
            torch.testing.assert_close(second.state_dict()[name], tensor, rtol=0, atol=0)
        first, second = (ClassBalance(ByPosition(3), 3, cycle=4) for _ in range(2))


def test_statistics_are_of_the_images_since_the_last_call() -> None:
    term = ClassBalance(ByPosition(4), 4, class_names=["a", "b", "c", "d"])
    assert "kl_to_uniform" not in term.statistics()
    term.generator_loss(step_batch(torch.eye(4).view(4, 1, 1, 4)))
    assert term.statistics()["kl_to_uniform"] == pytest.approx(0, abs=1e-12)
    term.generator_loss(step_batch(torch.eye(4)[:2].view(2, 1, 1, 4)))
    figures = term.statistics()
    assert figures["kl_to_uniform"] == pytest.approx(math.log(2))
    assert figures["count/d"] == 1
    assert set(ClassBalance(ByPosition(21), 21).statistics()) == set()


def test_a_generator_that_dropped_two_classes_gets_them_back() -> None:
    """A mixture over five classes whose last two have all but vanished, pulled by the term alone."""
    torch.manual_seed(0)
    k, n = 5, 256
    preference = torch.tensor([2.0, 2.0, 2.0, -3.0, -3.0], requires_grad=True)
    optimizer = torch.optim.Adam([preference], lr=0.02)
    term = ClassBalance(ByPosition(k), k, cycle=10)
    divergence = []
    for step in range(150):
        gumbel = -torch.empty(n, k).exponential_().log()
        images = ((preference + gumbel) / 0.3).softmax(dim=1)
        loss = term.generator_loss(step_batch(2 * images.view(n, 1, 1, k) - 1, step))
        assert loss is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            divergence.append(term.statistics()["kl_to_uniform"])
    assert divergence[0] > 0.4
    assert divergence[-1] < 0.5 * divergence[0]


@pytest.mark.parametrize("arguments", [{"weight": -1.0}, {"cycle": 0}, {"decay": 2.0}])
def test_bad_term_settings(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
        ClassBalance(ByPosition(3), 3, **arguments)  # type: ignore[arg-type]


class FakeGenerator(nn.Module):
    def __init__(self, resolution: int = 8, class_names: tuple[str, ...] = ("a", "b", "c")) -> None:
        super().__init__()
        self.resolution, self.img_channels, self.class_names = resolution, 1, class_names


def test_loading_checks_the_classifier_against_the_generator(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = str(tmp_path_factory.mktemp("classifier"))
    Classifier(3, resolution=8, img_channels=1, class_names=["a", "b", "c"]).save_pretrained(folder)
    term = load_class_balance(folder, FakeGenerator(), [9, 5, 1], cycle=7)
    assert (term.num_classes, term.cycle, term.weight) == (3, 7, 10.0)
    nameless = FakeGenerator()
    del nameless.class_names  # any module may be judged; what it doesn't know isn't compared
    assert load_class_balance(folder, nameless, [9, 5, 1]).num_classes == 3
    with pytest.raises(InputError, match="gan-lt classifier train"):
        load_class_balance(None, FakeGenerator(), [9, 5, 1])
    with pytest.raises(InputError, match="resolution is 8, the generator's 16"):
        load_class_balance(folder, FakeGenerator(16), [9, 5, 1])
    with pytest.raises(InputError, match="3 classes, the data has 2"):
        load_class_balance(folder, FakeGenerator(), [9, 5])
    with pytest.raises(InputError, match="class 1 is 'b', the data's 'x'"):
        load_class_balance(folder, FakeGenerator(class_names=("a", "x", "c")), [9, 5, 1])
