"""Configuration: presets, overrides, and impossible values said by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gan_lt import config as config_package
from gan_lt.config import (
    TrainConfig,
    build_config,
    dump_yaml,
    preset_names,
    preset_values,
    read_yaml,
    validate,
)
from gan_lt.errors import InputError


@pytest.mark.parametrize("name", preset_names())
def test_presets_validate_and_go_through_yaml(name: str, tmp_path: Path) -> None:
    config = build_config(name, {})
    assert config.preset == name
    file = tmp_path / "config.yaml"
    file.write_text(dump_yaml(config), encoding="utf-8")
    assert validate(read_yaml(file)) == config


def test_published_settings() -> None:
    """NoisyTwins' own for CIFAR-10-LT (shared by every default that cites it)."""
    config = build_config("cifar10-lt", {})
    assert (config.noisytwins.weight, config.noisytwins.gamma) == (0.01, 0.05)
    assert (config.noisytwins.sigma, config.noisytwins.beta) == (0.75, 0.99)
    assert config.training.kimg * 1000 == 120_000 * 128
    assert (config.loss.r1_gamma, config.discriminator.mbstd_group_size) == (0.01, 32)
    steps = {"imagenet-lt-64": 60_000, "inat2019-64": 25_000}
    assert {name: build_config(name, {}).augment.name for name in steps} == dict.fromkeys(steps, "ada")
    assert {name: build_config(name, {}).noisytwins.start_step for name in steps} == steps


@pytest.mark.parametrize(
    ("name", "regularizers", "conditional"),
    [
        ("cifar10-lt-sngan", ("lecam",), True),
        ("cifar10-lt-sngan-gsr", ("gsr", "lecam"), True),
        ("cifar10-lt-cbgan", ("cbgan", "lecam"), False),
    ],
)
def test_published_settings_on_sngan(name: str, regularizers: tuple[str, ...], conditional: bool) -> None:
    config = build_config(name, {})
    assert (config.backbone, config.regularizers) == ("sngan", regularizers)
    assert config.generator.conditional is conditional
    assert (config.generator.z_dim, config.sngan.channels) == (128, 64)
    assert (config.loss.adversarial, config.augment.name, config.lecam.weight) == (
        "hinge",
        "diffaugment",
        0.3,
    )
    optimizer = config.optimizer
    assert (optimizer.generator_lr, optimizer.discriminator_lr) == (2e-4, 2e-4)
    assert (optimizer.beta1, optimizer.beta2) == (0.5, 0.9)
    assert config.training.discriminator_steps == 5
    assert config.training.kimg * 1000 == 100_000 * 5 * 64
    assert (config.gsr.weight, config.gsr.beta, config.gsr.iterations) == (0.5, 0.999, 4)
    assert (config.cbgan.weight, config.cbgan.cycle, config.cbgan.form) == (10, 2000, "convex")


def test_rivals_train_the_same_network_as_noisytwins() -> None:
    def network_and_length(name: str) -> tuple[Any, ...]:
        config = build_config(name, {})
        return config.generator, config.discriminator, config.optimizer, config.training, config.loss

    for rival in ("cifar10-lt-utlo", "cifar10-lt-transitional"):
        assert network_and_length(rival) == network_and_length("cifar10-lt")
    transitional = build_config("cifar10-lt-transitional", {})
    assert transitional.transitional.start_step * transitional.training.batch == 2_000_000
    assert transitional.transitional.end_step * transitional.training.batch == 4_000_000
    few = build_config("few-shot-64", {}).noisytwins
    assert (few.sigma, few.beta) == (0.5, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loss.r1_gamma=1e-4", 1e-4),
        ("loss.r1_gamma=2", 2.0),
        ("optimizer.eps=1E-9", 1e-9),
        ("data.horizontal_flips=true", True),
        ("training.micro_batch=null", None),
        ("data.path=a=b", "a=b"),
        ("augment.policy=color,cutout", ("color", "cutout")),
        ("augment.policy=[cutout]", ("cutout",)),
        ("augment.ada.transforms=bg,cutout", ("bg", "cutout")),
        ("augment.ada.target=null", None),
        ("regularizers=noisytwins", ("noisytwins",)),
        ("regularizers=[]", ()),
    ],
)
def test_overrides(text: str, expected: Any) -> None:
    value: Any = build_config("custom", {}, [text])
    for key in text.split("=")[0].split("."):
        value = getattr(value, key)
    assert value == expected
    assert type(value) is type(expected)


def test_later_words_win() -> None:
    config = build_config("digits-lt", {"training.batch": 16, "training.seed": 5}, ["training.batch=32"])
    assert (config.training.batch, config.training.seed) == (32, 5)
    assert config.generator.channel_max == preset_values("digits-lt")["generator"]["channel_max"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "training: {batch: 12}\nloss:\n  r1_gamma: 1\ntraining: {kimg: 3}\n",
            "line 4: 'training' is set in line 1",
        ),
        ("training:\n  batch: 12\n  kimg: 3\n  batch: 16\n", "line 4: 'batch' is set in line 2"),
        ("training: {batch: 12, batch: 12}\n", "line 1: 'batch' is set in line 1"),
        ("data:\n  path: [{a: 1}, {b: 1, b: 2}]\n", "'b' is set"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        build_config(str(file), {})
    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys_that_yaml_itself_repeats_are_not_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, x: 4}\nd: &d [*a, *a, *d]\n")
    values = read_yaml(file)
    assert values["c"] == {"x": 4, "y": 2}
    file.write_text("# nothing\n")
    with pytest.raises(InputError, match="must hold sections"):
        read_yaml(file)


@pytest.mark.parametrize("text", ["training: {batch: many}", "trainig: {batch: 3}", "regularizers: [x]"])
def test_what_is_wrong_in_a_preset_file_names_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        build_config(str(file), {"training.seed": 3}, ["loss.r1_gamma=1"])
    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).count(str(file)) == 1
    file.write_text("training: {batch: 12}")
    with pytest.raises(InputError) as caught:
        build_config(str(file), {"training.kimg": "many"})
    assert str(caught.value).startswith("training.kimg=many")
    with pytest.raises(InputError, match=r"^loss\.r1_gama: unknown"):
        build_config(str(file), {}, ["loss.r1_gama=1"])


def test_own_preset_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("training: {batch: 12}\n")
    config = build_config(str(file), {})
    assert (config.preset, config.training.batch) == ("mine", 12)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["training.bach=3"], ["training.bach", "did you mean 'batch'", "micro_batch"]),
        (["trainng.batch=3"], ["trainng", "did you mean 'training'"]),
        (["sigma=3"], ["sigma", "noisytwins"]),
        (["training.batch=0"], ["training.batch=0", "2"]),
        (["training.batch=2.5"], ["training.batch=2.5"]),
        (["training.batch=many"], ["training.batch=many"]),
        (["training.kimg=-1"], ["training.kimg=-1"]),
        (["training.kimg=nan"], ["training.kimg=nan"]),
        (["training.kimg=inf"], ["training.kimg=inf"]),
        (["training.seed=-1"], ["training.seed=-1"]),
        (["training.style_mixing=1.5"], ["training.style_mixing=1.5"]),
        (["optimizer.beta2=1"], ["optimizer.beta2=1"]),
        (["optimizer.generator_lr=0"], ["optimizer.generator_lr=0"]),
        (["loss.adversarial=wgan"], ["loss.adversarial=wgan", "rpgan"]),
        (["loss.penalty_interval=0"], ["loss.penalty_interval=0"]),
        (["data.resolution=48"], ["data.resolution=48", "power of two"]),
        (["data.resolution=4"], ["data.resolution=4"]),
        (["data.imbalance=0.5"], ["data.imbalance=0.5"]),
        (["data.channels=2"], ["data.channels=2"]),
        (["data.sampler=random"], ["data.sampler=random", "effective"]),
        (["augment.policy=rotate"], ["rotate", "cutout"]),
        (["augment.ada.transforms=bg,spin"], ["augment.ada.transforms", "'spin'", "bgc"]),
        (["augment.ada.p=2"], ["augment.ada.p=2"]),
        (["augment.name=ada", "loss.adversarial=rpgan"], ["augment.ada.target=0.6", "rpgan", "target=null"]),
        (["augment.ada.targt=0.5"], ["did you mean 'target'"]),
        (["noisytwins.beta=1"], ["noisytwins.beta=1"]),
        (["regularizers=twins"], ["'twins'", "noisytwins"]),
        (["regularizers=noisytwins,noisytwins"], ["twice"]),
        (["generator=3"], ["generator=3", "section"]),
        (["generator.z_dim.size=3"], ["generator.z_dim"]),
        (["training.batch"], ["'training.batch'", "dotted.name=value"]),
        (["=3"], ["'=3'"]),
        (["training.batch=[1"], ["training.batch=[1", "YAML"]),
        (["training.batch=30"], ["30", "mbstd_group_size=4"]),
        (["training.batch=32", "training.micro_batch=12"], ["batch=32", "micro_batch=12"]),
        (
            ["training.batch=32", "training.micro_batch=2", "regularizers=noisytwins"],
            ["micro_batch=2", "pair"],
        ),
        (
            ["generator.conditional=false", "regularizers=noisytwins"],
            ["noisytwins", "generator.conditional=true"],
        ),
        (["backbone=sngan", "regularizers=noisytwins"], ["noisytwins", "sngan has neither"]),
        (["backbone=sngan", "training.style_mixing=0.9"], ["training.style_mixing=0.9", "sngan"]),
        (["backbone=sngan", "loss.path_length_weight=2"], ["loss.path_length_weight=2", "sngan"]),
        (["backbone=sngan", "regularizers=utlo"], ["utlo", "sngan has neither"]),
        (["backbone=sngan", "regularizers=transitional"], ["transitional", "sngan has none"]),
        (["generator.conditional=false", "regularizers=utlo"], ["utlo", "generator.conditional=true"]),
        (["generator.conditional=false", "regularizers=transitional"], ["transitional", "conditional=true"]),
        (["regularizers=utlo", "generator.architecture=orig"], ["architecture=orig", "utlo"]),
        (["regularizers=utlo", "discriminator.architecture=skip"], ["architecture=skip", "utlo"]),
        (["regularizers=utlo", "data.resolution=8"], ["utlo.resolution=8", "data.resolution=8"]),
        (["utlo.resolution=12"], ["utlo.resolution=12", "power of two"]),
        (["transitional.end_step=9"], ["end_step=9", "start_step=15625"]),
        (["backbone=biggan"], ["backbone=biggan", "sngan"]),
        (["backbone=sngan", "sngan.channels=0"], ["sngan.channels=0"]),
        (["training.discriminator_steps=0"], ["training.discriminator_steps=0"]),
        (
            ["training.batch=9", "discriminator.mbstd_group_size=3", "regularizers=noisytwins"],
            ["training.batch=9", "even"],
        ),
    ],
)
def test_impossible_values_are_named(overrides: list[str], parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        build_config("custom", {}, overrides)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_group_larger_than_the_batch_is_the_batch() -> None:
    assert build_config("custom", {}, ["training.batch=6", "discriminator.mbstd_group_size=32"])
    assert build_config("custom", {}, ["training.batch=7", "discriminator.mbstd_group_size=null"])


def test_unknown_preset_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'cifar10-l' .*did you mean 'cifar10(0)?-lt'"):
        build_config("cifar10-l", {})


@pytest.mark.parametrize(
    ("text", "what"),
    [("a: [", "YAML"), ("[1, 2]", "list"), ("", "NoneType"), ("!!python/object/apply:os.getcwd []", "YAML")],
)
def test_bad_files_are_named(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=what) as caught:
        read_yaml(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="can't be read"):
        read_yaml(tmp_path)


def test_configurations_do_not_change() -> None:
    config = TrainConfig()
    with pytest.raises(ValueError, match="frozen"):
        config.training.batch = 3  # type: ignore[misc]


def test_yaml_holds_every_setting() -> None:
    values = yaml.safe_load(dump_yaml(TrainConfig()))
    assert set(values) == set(TrainConfig.model_fields)
    assert set(values["training"]) == set(type(TrainConfig().training).model_fields)


def test_every_section_is_importable_from_the_package() -> None:
    sections = {type(getattr(TrainConfig(), name)).__name__ for name in TrainConfig.model_fields}
    sections = {name for name in sections if name.endswith("Config")} | {
        "AdaConfig",
        "Section",
        "TrainConfig",
    }
    assert len(sections) == 19
    assert sections <= set(config_package.__all__)
    assert all(hasattr(config_package, name) for name in config_package.__all__)
