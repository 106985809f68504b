"""The networks compute what the official StyleGAN2-ADA networks computed (reference numbers in ../shared/golden)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from gan_lt.models import Discriminator, Generator

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "stylegan2_ada_skip_resnet.safetensors"
pytestmark = pytest.mark.skipif(
    not GOLDEN.exists(), reason="needs ../shared/golden (reference numbers, not shipped)"
)

BLOCKS = {4: 0, 8: 1, 16: 2}


def official_name(ours: str) -> str:
    """The official parameter name of one of our generator's or discriminator's."""
    name = re.sub(r"synthesis\.blocks\.(\d)\.", lambda m: f"synthesis.b{4 << int(m[1])}.", ours)
    name = re.sub(r"^blocks\.(\d)\.", lambda m: f"b{16 >> int(m[1])}.", name)
    name = re.sub(r"^(conv|fc|out)\.", r"b4.\1.", name)
    name = re.sub(r"mapping\.layers\.(\d)", r"mapping.fc\1", name)
    return name.replace("to_image", "torgb").replace("from_image", "fromrgb")


def load(network: torch.nn.Module, prefix: str, tensors: dict[str, Tensor]) -> None:
    state = {}
    for name in network.state_dict():
        value = tensors[prefix + official_name(name)]
        state[name] = value.t() if name.endswith("embed.weight") else value
    network.load_state_dict(state)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with safe_open(GOLDEN, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}


@pytest.fixture
def networks(golden: dict[str, Tensor]) -> tuple[Generator, Discriminator]:
    common = {"num_classes": 4, "resolution": 16, "img_channels": 3, "channel_base": 512, "channel_max": 64}
    G = Generator(z_dim=32, w_dim=32, mapping_layers=2, architecture="skip", **common)
    D = Discriminator(architecture="resnet", mbstd_group_size=4, **common)
    load(G, "G.", golden)
    load(D, "D.", golden)
    return G, D


def relative_error(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def test_outputs(golden: dict[str, Tensor], networks: tuple[Generator, Discriminator]) -> None:
    G, D = networks
    y = golden["c"].argmax(dim=1)
    with torch.no_grad():
        assert relative_error(G.mapping(golden["z"], y), golden["w"]) < 1e-4
        assert relative_error(G(golden["z"], y, noise_mode="const"), golden["image"]) < 1e-4
        truncated = G(golden["z"], y, truncation_psi=0.7, noise_mode="const")
        assert relative_error(truncated, golden["image_psi07"]) < 1e-4
        assert relative_error(D(golden["image"], y), golden["d_logits"].squeeze(1)) < 1e-4


def test_r1_and_its_gradients(golden: dict[str, Tensor], networks: tuple[Generator, Discriminator]) -> None:
    _, D = networks
    image = golden["image"].clone().requires_grad_()
    logits = D(image, golden["c"].argmax(dim=1))
    (gradient,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    r1 = gradient.square().sum(dim=[1, 2, 3])
    assert relative_error(r1, golden["r1"]) < 1e-3
    r1.mean().backward()
    checked = 0
    for name, parameter in D.named_parameters():
        key = "grad_r1." + official_name(name)
        if key in golden:
            assert relative_error(parameter.grad, golden[key]) < 1e-3, name
            checked += 1
    assert checked == 3


def test_generator_gradients(golden: dict[str, Tensor], networks: tuple[Generator, Discriminator]) -> None:
    G, _ = networks
    G(golden["z"], golden["c"].argmax(dim=1), noise_mode="const").square().mean().backward()
    checked = 0
    for name, parameter in G.named_parameters():
        key = "grad_g." + official_name(name)
        if key in golden:
            expected = golden[key].t() if name.endswith("embed.weight") else golden[key]
            assert relative_error(parameter.grad, expected) < 1e-3, name
            checked += 1
    assert checked == 3
