"""--init-from: training that starts from imported and saved networks, classes re-made, layers frozen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official_files import official, official_kwargs, random_networks, small, write_pickle
from PIL import Image

from gan_lt.commands import run_command, train_command
from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator
from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint
from gan_lt.training.fine_tuning import class_vectors, match_classes, transfer
from gan_lt.training.initial_networks import open_initial_networks
from gan_lt.training.run_directory import open_run

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "stylegan2_ada_skip_resnet.safetensors"
needs_golden = pytest.mark.skipif(
    not GOLDEN.exists(), reason="needs ../shared/golden (reference numbers, not shipped)"
)
SHORT = ["--batch=8", "training.tick_kimg=0.04", "training.checkpoint_ticks=1", "training.threads=1"]
SHORT += ["training.precision=fp32"]


def write_images(folder: Path, counts: dict[str, int], resolution: int = 8) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", {"ant": 12, "bee": 6, "cow": 4, "dog": 3})


@pytest.fixture
def networks() -> tuple[Generator, Discriminator]:
    return random_networks({"mapping_layers": 2}, {"mapping_layers": 2}, small(num_classes=4))


@pytest.fixture
def pickled(tmp_path: Path, networks: tuple[Generator, Discriminator]) -> Path:
    G, D = networks
    return write_pickle(tmp_path / "net.pkl", official(G), official(D), *official_kwargs(G, D))


Train = Callable[..., Path]


@pytest.fixture
def train(tmp_path: Path, data: Path) -> Train:
    """``train("name", "--init-from", X, ...)``: a run on four classes, 0.04 kimg of batch 8 unless said otherwise."""

    def run(name: str, *arguments: Any, folder: Path = data, kimg: float = 0.04) -> Path:
        options = ["--data", folder, "--outdir", tmp_path, "--name", name, f"--kimg={kimg}", *SHORT]
        assert train_command([str(a) for a in [*options, *arguments]]) == 0
        return tmp_path / name

    return run


def state(run: Path) -> dict[str, Any]:
    return load_checkpoint(list_checkpoints(run / "checkpoints")[-1])


def test_twenty_steps_from_an_official_pickle(
    train: Train, pickled: Path, networks: tuple[Generator, Discriminator], capsys: Any
) -> None:
    run = train("run", "--init-from", pickled, kimg=0.16)
    assert "classes 0 to 3 become ant, bee, cow, dog" in capsys.readouterr().err
    after, config = state(run), open_run(run)
    assert after["step"] == 20
    assert config.generator.channel_max == 12
    assert config.generator.mapping_layers == config.discriminator.mapping_layers == 2
    assert config.ema.rampup is None
    for network, key in zip(networks, ("G", "D"), strict=True):
        before = network.state_dict()
        moved = {name for name, value in before.items() if not torch.equal(value, after[key][name])}
        assert moved >= {name for name, _ in network.named_parameters() if "noise" not in name}
        # twenty small steps away from the source, nowhere near a fresh start
        name = "synthesis.blocks.1.conv0.weight" if key == "G" else "blocks.0.conv0.weight"
        distance = (after[key][name] - before[name]).square().mean().sqrt()
        assert distance < 0.1 * before[name].square().mean().sqrt()


@needs_golden
def test_twenty_steps_from_the_golden_network(tmp_path: Path, train: Train) -> None:
    source = open_initial_networks(GOLDEN)
    folder = write_images(tmp_path / "sized", {"x": 9, "y": 8, "z": 2}, source.G.resolution)
    run = train(
        "run", "--init-from", GOLDEN, "training.freeze_discriminator_layers=1", folder=folder, kimg=0.16
    )
    after = state(run)
    assert after["step"] == 20
    assert source.D is not None
    frozen = {n: v for n, v in source.D.state_dict().items() if n.startswith("blocks.0.")}
    assert frozen
    assert all(torch.equal(after["D"][name], value) for name, value in frozen.items())
    G = Generator.from_pretrained(run / "network")
    assert (G.class_names, source.G.num_classes) == (("x", "y", "z"), 4)
    assert all(bool(torch.isfinite(value).all()) for value in G.state_dict().values())


@pytest.mark.parametrize("blocks", [0, 1])
def test_frozen_blocks_are_bit_equal_and_the_others_move(
    blocks: int, train: Train, pickled: Path, networks: tuple[Generator, Discriminator]
) -> None:
    run = train("run", "--init-from", pickled, f"training.freeze_discriminator_layers={blocks}")
    after = state(run)["D"]
    for name, parameter in networks[1].named_parameters():
        frozen = blocks > 0 and name.startswith("blocks.0.")
        assert torch.equal(parameter, after[name]) == frozen, name


def test_resumed_fine_tuning_equals_uninterrupted_bit_for_bit(train: Train, pickled: Path) -> None:
    options = ("--init-from", pickled, "training.freeze_discriminator_layers=1", "--regularizers=noisytwins")
    whole, halves = train("whole", *options, kimg=0.08), train("halves", *options)
    pickled.unlink()  # a run with a checkpoint needs its source no more
    assert train_command(["--resume", str(halves), "--kimg=0.08"]) == 0
    a, b = state(whole), state(halves)
    assert a["step"] == b["step"] == 10
    for key in ("G", "D", "G_ema"):
        assert all(torch.equal(value, b[key][name]) for name, value in a[key].items())
    moments = [v for s in (a, b) for v in (s["optimizer_d"]["state"][0]["exp_avg"],)]
    assert torch.equal(*moments)


def start(run_config: Any, images: Any, source: Any) -> Any:
    from gan_lt.training.fine_tuning import start_from
    from gan_lt.training.state import TrainingState

    fresh = TrainingState(run_config, images, torch.device("cpu"))
    return fresh, start_from(fresh, source)


def test_a_run_starts_another_with_weights_average_and_class_names(
    tmp_path: Path, train: Train, pickled: Path
) -> None:
    from gan_lt.training.dataset import open_training_set

    first = train("first", "--init-from", pickled)
    folder = write_images(tmp_path / "other", {"bee": 5, "elk": 4, "ant": 3})
    second = train("second", "--init-from", first, folder=folder)
    source = open_initial_networks(first)
    for network, key in ((source.G, "G"), (source.G_ema, "G_ema"), (source.D, "D")):
        assert network is not None
        assert all(torch.equal(v, network.state_dict()[n]) for n, v in state(first)[key].items())
    config = open_run(second)
    fresh, said = start(config, open_training_set(config.data), source)
    assert "2 of 3 classes are known; new: elk" in said
    for ours, theirs in ((fresh.G, source.G), (fresh.G_ema, source.G_ema), (fresh.D, source.D)):
        table, before = ours.mapping.embed.table(), theirs.mapping.embed.table()
        names = fresh.G.class_names
        for name, index in (("ant", 0), ("bee", 1)):
            torch.testing.assert_close(table[names.index(name)], before[index], rtol=1e-6, atol=1e-6)
        elk = table[names.index("elk")]
        assert (elk - before.mean(dim=0)).abs().max() < 0.5 * before.std(dim=0).max()
        assert not torch.equal(elk, before.mean(dim=0))
    z, y = torch.randn(2, fresh.G.z_dim), torch.tensor([names.index("ant"), names.index("bee")])
    with torch.no_grad():
        image = fresh.G_ema(z, y, noise_mode="const")
        torch.testing.assert_close(
            image, source.G_ema(z, torch.tensor([0, 1]), noise_mode="const"), rtol=1e-4, atol=1e-5
        )
        real = torch.randn(2, 3, 8, 8)
        torch.testing.assert_close(
            fresh.D(real, y), source.D(real, torch.tensor([0, 1])), rtol=1e-4, atol=1e-4
        )


def test_imported_folder_and_generator_alone(
    tmp_path: Path, train: Train, networks: tuple[Generator, Discriminator], capsys: Any
) -> None:
    G, D = networks
    G.save_pretrained(tmp_path / "both" / "generator")
    D.save_pretrained(tmp_path / "both" / "discriminator")
    found = open_initial_networks(tmp_path / "both")
    assert found.D is not None
    assert all(torch.equal(v, found.D.state_dict()[n]) for n, v in D.state_dict().items())
    run = train("run", "--init-from", tmp_path / "both" / "generator", "discriminator.mapping_layers=1")
    assert "discriminator starts afresh" in capsys.readouterr().err
    assert state(run)["D"].keys() != D.state_dict().keys()
    for file in ("config.json", "model.safetensors"):
        assert open_initial_networks(tmp_path / "both" / "generator" / file).D is None


def test_classes_for_an_unconditional_network(tmp_path: Path, train: Train) -> None:
    G, D = random_networks({"mapping_layers": 2}, {}, small(num_classes=0))
    path = write_pickle(tmp_path / "plain.pkl", official(G), official(D), *official_kwargs(G, D))
    assert open_run(train("plain", "--init-from", path)).generator.conditional is False
    asked = ("--init-from", path, "generator.conditional=true", "discriminator.mapping_layers=1")
    run = train("classes", *asked)
    from gan_lt.training.dataset import open_training_set

    config = open_run(run)
    fresh, said = start(config, open_training_set(config.data), open_initial_networks(path))
    assert "all 4 are new" in said
    z = torch.randn(4, G.z_dim)
    with torch.no_grad():
        for network in (fresh.G, fresh.G_ema):
            image = network(z, torch.arange(4), noise_mode="const")
            torch.testing.assert_close(image, G(z, noise_mode="const"), rtol=1e-4, atol=1e-5)
    assert torch.equal(fresh.G.mapping.embed.weight, fresh.G_ema.mapping.embed.weight)
    weight = state(run)["G"]["mapping.layers.0.weight"]
    assert weight[:, G.z_dim :].abs().max() > 0  # the classes are being learned


def test_matching() -> None:
    assert match_classes(None, 3, ["a", "b", "c"]) == [0, 1, 2]
    assert match_classes(None, 3, ["a", "b"]) == [None, None]
    assert match_classes(["b", "a"], 2, ["a", "x", "b"]) == [1, None, 0]


def test_class_vectors_keep_what_the_layer_computes() -> None:
    table = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    vectors = class_vectors(table, [2, None, *[None] * 6, 0], noise) / 9**0.5
    before = table / 4**0.5
    torch.testing.assert_close(vectors[0], before[2])
    torch.testing.assert_close(vectors[8], before[0])
    expected = before.mean(dim=0) + 0.1 * before.std(dim=0) * noise[1]
    torch.testing.assert_close(vectors[1], expected)
    alone = class_vectors(table[:1], [0, None], noise[:2])
    assert bool(torch.isfinite(alone).all())
    assert not torch.equal(alone[0], alone[1])


def test_what_does_not_fit_names_the_layer_and_both_shapes(networks: tuple[Generator, Discriminator]) -> None:
    G, D = networks
    for source, changes, message in (
        (G, {"channel_max": 7}, r"generator's layer 'synthesis.*\[12, .*\[7, "),
        (D, {"channel_max": 7}, r"discriminator's layer 'blocks\.0.*\[8\] there, but \[7\]"),
        (G, {"noise_inputs": False}, r"noise_const' is \[4, 4\] there, but nothing"),
        (G, {"mapping_layers": 3}, r"layers\.2\.bias' is nothing there, but \[10\]"),
    ):
        with torch.random.fork_rng():
            target = type(source)(**{**source.config, **changes})
        before = {name: value.clone() for name, value in target.state_dict().items()}
        with pytest.raises(InputError, match=message):
            transfer(source, target, [0, 1, 2, 3], torch.zeros(4, 12), "net.pkl")
        assert all(torch.equal(value, target.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generator.channel_max=9"], "generator.channel_max=9: the network of"),
        (["--resolution=16"], "data.resolution=16: the network of"),
        (["generator.conditional=false"], "generator.conditional=False: the network of"),
        (["training.freeze_discriminator_layers=2"], "has 1 blocks above 4x4"),
        (["discriminator.mbstd_group_size=3"], "is not divisible"),
    ],
)
def test_contradictions_are_refused(
    arguments: list[str], message: str, data: Path, pickled: Path, tmp_path: Path, capsys: Any
) -> None:
    options = ["--data", str(data), "--outdir", str(tmp_path / "runs"), "--init-from", str(pickled), *SHORT]
    assert run_command(train_command, [*options, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_settings_that_change_no_weight_may_be_given(train: Train, pickled: Path) -> None:
    run = train("run", "--init-from", pickled, "discriminator.mbstd_group_size=2", "generator.channel_max=12")
    assert open_run(run).discriminator.mbstd_group_size == 2


def test_sources_that_are_none(
    tmp_path: Path, data: Path, networks: tuple[Generator, Discriminator], capsys: Any
) -> None:
    networks[0].save_pretrained(tmp_path / "G")
    networks[1].save_pretrained(tmp_path / "D")
    (tmp_path / "empty").mkdir()
    common = ["--data", str(data), "--outdir", str(tmp_path / "runs"), *SHORT]
    freeze = "training.freeze_discriminator_layers=1"
    for arguments, message in (
        (["--init-from", str(tmp_path / "nowhere")], "nowhere does not exist"),
        (["--init-from", str(tmp_path / "empty")], "empty holds no network"),
        (["--init-from", str(tmp_path / "D")], "holds a 'Discriminator', not a Generator"),
        (["--init-from", str(tmp_path / "G"), freeze], "has no discriminator"),
        ([freeze], "it needs --init-from"),
    ):
        assert run_command(train_command, [*common, *arguments]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
