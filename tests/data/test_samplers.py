"""Class samplers: frequencies, epochs, exact resumption."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gan_lt.data import ClassSampler, make_sampler
from gan_lt.data.samplers import SamplerName
from gan_lt.errors import InputError

NAMES: list[SamplerName] = ["natural", "balanced", "sqrt", "effective"]
COUNTS = np.array([400, 90, 20, 3])
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), COUNTS))


def test_natural_takes_every_image_once_an_epoch_in_new_orders() -> None:
    sampler = make_sampler("natural", LABELS, seed=5)
    epochs = [sampler.next_indices(len(LABELS)) for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(len(LABELS)))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(make_sampler("natural", LABELS, seed=6).next_indices(len(LABELS)), epochs[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("natural", COUNTS / COUNTS.sum()),
        ("balanced", np.full(4, 0.25)),
        ("sqrt", np.sqrt(COUNTS) / np.sqrt(COUNTS).sum()),
        ("effective", (1 - 0.99**COUNTS) / (1 - 0.99**COUNTS).sum()),
    ],
)
def test_class_frequencies(name: SamplerName, expected: np.ndarray) -> None:
    n = 40_000
    drawn = make_sampler(name, LABELS, COUNTS, beta=0.99, seed=1).next_indices(n)
    found = np.bincount(LABELS[drawn], minlength=4) / n
    # Five standard deviations of a binomial share.
    assert np.all(np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / n))


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_class_take_turns(name: SamplerName) -> None:
    drawn = make_sampler(name, LABELS, seed=2).next_indices(5000)
    groups = (
        [np.arange(len(LABELS))] if name == "natural" else [np.flatnonzero(LABELS == k) for k in range(4)]
    )
    for members in groups:
        turns = drawn[np.isin(drawn, members)]
        for start in range(0, len(turns) - len(members) + 1, len(members)):
            assert sorted(turns[start : start + len(members)]) == members.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_how_the_draws_are_sliced_does_not_matter(name: SamplerName) -> None:
    at_once = make_sampler(name, LABELS, seed=3).next_indices(2000)
    sampler = make_sampler(name, LABELS, seed=3)
    sizes = [1, 0, 7, 500, 32, 1000, 460]
    assert np.array_equal(np.concatenate([sampler.next_indices(size) for size in sizes]), at_once)


@pytest.mark.parametrize("name", NAMES)
def test_state_resumes_exactly_and_is_plain_json(name: SamplerName) -> None:
    sampler = make_sampler(name, LABELS, seed=4)
    sampler.next_indices(777)
    state = json.loads(json.dumps(sampler.state_dict()))
    expected = sampler.next_indices(1500)
    resumed = make_sampler(name, LABELS, seed=4)
    resumed.next_indices(13)
    resumed.load_state_dict(state)
    assert np.array_equal(resumed.next_indices(1500), expected)
    assert resumed.state_dict() == sampler.state_dict()


def test_the_state_of_another_sampler_is_refused() -> None:
    state = make_sampler("sqrt", LABELS, seed=0).state_dict()
    with pytest.raises(InputError, match=r"name 'sqrt'.*'balanced'"):
        make_sampler("balanced", LABELS, seed=0).load_state_dict(state)
    with pytest.raises(InputError, match=r"seed 0.* 1"):
        make_sampler("sqrt", LABELS, seed=1).load_state_dict(state)
    with pytest.raises(InputError, match="images 513"):
        make_sampler("sqrt", LABELS[:-1], seed=0).load_state_dict(state)


def test_classes_without_images_are_never_drawn() -> None:
    labels = np.array([0, 0, 2])
    for name in NAMES:
        drawn = make_sampler(name, labels, counts=[2, 0, 1, 0]).next_indices(200)
        assert set(drawn) == {0, 1, 2}


def test_effective_goes_from_balanced_to_natural() -> None:
    shares = [
        np.bincount(LABELS[make_sampler("effective", LABELS, beta=beta).next_indices(20_000)]) / 20_000
        for beta in (0.0, 1 - 1e-12)
    ]
    assert np.abs(shares[0] - 0.25).max() < 0.02
    assert np.abs(shares[1] - COUNTS / COUNTS.sum()).max() < 0.02


def test_bad_samplers_are_refused() -> None:
    with pytest.raises(InputError, match=r"'uniform' is not known.*effective"):
        make_sampler("uniform", LABELS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"beta 1\.0"):
        make_sampler("effective", LABELS, beta=1.0)
    with pytest.raises(InputError, match="not those of the labels"):
        make_sampler("sqrt", LABELS, counts=[1, 2, 3, 4])
    with pytest.raises(InputError, match="seed -1"):
        make_sampler("natural", LABELS, seed=-1)
    with pytest.raises(InputError, match="-5 images"):
        make_sampler("natural", LABELS).next_indices(-5)
    with pytest.raises(InputError, match="group 1 lacks images"):
        ClassSampler(np.array([0, 0, 2]), [1.0, 1.0, 1.0])


def test_no_group_beyond_the_last_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares that add up to a little less than 1 would leave a gap at the end."""
    highest = 1 - 2.0**-53
    monkeypatch.setattr("gan_lt.data.samplers.uniform_numbers", lambda *_: np.full(3, highest))
    for num_groups in range(2, 200):
        weights = np.sqrt(np.arange(1, num_groups + 1))
        drawn = ClassSampler(np.arange(num_groups), weights).next_indices(3)
        assert drawn.tolist() == [num_groups - 1] * 3


def test_labels_that_can_not_be_counted_are_refused() -> None:
    with pytest.raises(InputError, match=r"sampler balanced: label 100000000000 is not a class index below"):
        make_sampler("balanced", [0, 10**11])
    with pytest.raises(InputError, match="2 images do not fit 2 groups"):
        ClassSampler([0, 10**11], [1.0, 1.0])
    with pytest.raises(InputError, match="2 images do not fit 2 groups"):
        ClassSampler([0, -1], [1.0, 1.0])
