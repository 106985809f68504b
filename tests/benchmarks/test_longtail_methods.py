"""The table of methods: what a name sets, what may be combined, what is refused."""

from __future__ import annotations

import pytest

from benchmarks.longtail_methods import METHODS, parse_methods
from gan_lt.config import build_config
from gan_lt.errors import InputError


def config_of(name: str):
    (method,) = parse_methods(name)
    return build_config("digits-lt", {}, ["cbgan.classifier=somewhere", *method.overrides()])


@pytest.mark.parametrize(
    ("name", "regularizers", "sampler"),
    [
        ("baseline", (), "natural"),
        ("baseline-balanced", (), "balanced"),
        ("sqrt", (), "sqrt"),
        ("effective", (), "effective"),
        ("gsr", ("gsr",), "balanced"),
        ("all", ("noisytwins", "gsr", "cbgan"), "balanced"),
        ("noisytwins+gsr+sqrt", ("noisytwins", "gsr"), "sqrt"),
        ("lecam+natural", ("lecam",), "natural"),
    ],
)
def test_a_name_sets_regularizers_and_sampler_and_nothing_else(name, regularizers, sampler) -> None:
    config, preset = config_of(name), build_config("digits-lt", {}, ["cbgan.classifier=somewhere"])
    assert config.regularizers == regularizers
    assert config.data.sampler == sampler
    same = {"regularizers": preset.regularizers, "data": preset.data}
    assert config.model_copy(update=same) == preset


def test_noise_is_noisytwins_without_its_loss() -> None:
    assert config_of("noise").regularizers == ("noisytwins",)
    assert config_of("noise").noisytwins.weight == 0
    assert config_of("noise").noisytwins.sigma == config_of("noisytwins").noisytwins.sigma > 0


def test_baselines_are_those_without_a_method() -> None:
    assert {n for n, m in METHODS.items() if m.is_baseline} == {"baseline", "balanced", "sqrt", "effective"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("baseline,nosuch", "nosuch"),
        ("gsr,gsr", "gsr"),
        ("baseline,baseline-natural", "baseline"),
        ("noise+noisytwins", "noise\\+noisytwins"),
        ("sqrt+balanced", "sqrt\\+balanced"),
        ("baseline-gsr", "baseline-gsr"),
        (" , ", "names none"),
    ],
)
def test_what_is_not_a_method_is_refused_by_name(text, named) -> None:
    with pytest.raises(InputError, match=named):
        parse_methods(text)
