"""Generator and discriminator: shapes, the identities they rest on, bad input, and networks on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator
from gan_lt.models.layers import ClassEmbedding, FullyConnected, MinibatchStd, normalize_2nd_moment
from gan_lt.models.modulation import ModulatedConv2d

SMALL: dict[str, Any] = {"num_classes": 3, "resolution": 8, "img_channels": 1, "channel_max": 8}


def small_generator(**changes: Any) -> Generator:
    torch.manual_seed(0)
    return Generator(**{"z_dim": 8, "w_dim": 8, "mapping_layers": 2, **SMALL, **changes})


def small_discriminator(**changes: Any) -> Discriminator:
    torch.manual_seed(1)
    return Discriminator(**{"mapping_layers": 1, **SMALL, **changes})


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("img_channels", [1, 3])
@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_shapes(architecture: str, num_classes: int, img_channels: int, resolution: int) -> None:
    sizes = {
        "num_classes": num_classes,
        "img_channels": img_channels,
        "resolution": resolution,
        "architecture": architecture,
    }
    G, D = small_generator(**sizes), small_discriminator(**sizes)
    z = torch.randn(4, 8)
    y = torch.tensor([0, 1, 2, 0]) if num_classes else None
    ws = G.mapping(z, y)
    images = G(z, y)
    logits = D(images, y)
    assert ws.shape == (4, G.num_ws, 8)
    assert (
        G.num_ws == 2 * {8: 2, 16: 3, 32: 4}[resolution]
    )  # two layers a resolution: one less at 4x4, one to-image
    assert images.shape == (4, img_channels, resolution, resolution)
    assert images.dtype == torch.float32
    assert G.synthesis(ws).shape == images.shape
    assert logits.shape == (4,)
    assert logits.dtype == torch.float32
    assert bool(torch.isfinite(images).all())
    assert bool(torch.isfinite(logits).all())


@pytest.mark.parametrize("up", [1, 2])
def test_modulated_convolution_equals_per_sample_weights(up: int) -> None:
    torch.manual_seed(2)
    layer = ModulatedConv2d(5, 7, w_dim=6, resolution=4 * up, up=up).double()
    layer.bias.data.normal_()
    layer.noise_strength.data.fill_(0.3)
    x, w = torch.randn(3, 5, 4, 4).double(), torch.randn(3, 6).double()

    style = layer.affine(w)
    weight = layer.weight[None] * style[:, None, :, None, None]
    weight = weight / (weight.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).sqrt()
    if up == 1:
        expected = F.conv2d(x.reshape(1, 15, 4, 4), weight.reshape(21, 5, 3, 3), padding=1, groups=3)
    else:
        # the order of the textbook: zero-insert, filter (gain 4), then a 3x3 correlation with the flipped kernel
        spread = torch.zeros(3, 5, 8, 8).double()
        spread[:, :, ::2, ::2] = x
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]).double()
        blur = (torch.outer(taps, taps) / 64 * 4)[None, None].repeat(15, 1, 1, 1)
        padded = F.pad(spread.reshape(1, 15, 8, 8), [3, 2, 3, 2])
        smooth = F.conv2d(padded, blur, groups=15)
        expected = F.conv2d(smooth, weight.flip([3, 4]).reshape(21, 5, 3, 3), groups=3)
    expected = expected.reshape(3, 7, 4 * up, 4 * up)
    expected = expected + layer.noise_const * layer.noise_strength + layer.bias[None, :, None, None]
    expected = F.leaky_relu(expected, 0.2) * 2**0.5
    torch.testing.assert_close(layer(x, w, noise_mode="const"), expected, rtol=1e-10, atol=1e-10)


def test_class_embedding_is_a_layer_on_the_one_hot_label() -> None:
    torch.manual_seed(3)
    embedding, dense = ClassEmbedding(5, 4), FullyConnected(5, 4)
    embedding.bias.data.normal_()
    dense.weight.data, dense.bias.data = embedding.weight.data.t().clone(), embedding.bias.data.clone()
    labels = torch.tensor([4, 0, 2])
    torch.testing.assert_close(embedding(labels), dense(F.one_hot(labels, 5).float()))
    torch.testing.assert_close(embedding.table()[labels], embedding(labels))


def test_class_matters_to_both_networks() -> None:
    G, D = small_generator(), small_discriminator(mbstd_group_size=1)
    z, images = torch.randn(1, 8).repeat(3, 1), torch.randn(1, 1, 8, 8).repeat(3, 1, 1, 1)
    y = torch.arange(3)
    made, logits = G(z, y, noise_mode="none"), D(images, y)
    assert all(not torch.equal(made[i], made[j]) for i, j in [(0, 1), (0, 2), (1, 2)])
    assert len(set(logits.tolist())) == 3


def test_truncation_0_gives_the_mean_and_1_changes_nothing() -> None:
    G = small_generator()
    z, y = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    G.mapping.track_w_avg(G.mapping.style(z, y))
    full, mean = G.mapping(z, y), G.mapping.w_avg
    torch.testing.assert_close(G.mapping(z, y, truncation_psi=0.0), mean.expand(4, G.num_ws, 8))
    assert torch.equal(G.mapping(z, y, truncation_psi=1.0), full)
    torch.testing.assert_close(G.mapping(z, y, truncation_psi=0.7), mean + 0.7 * (full - mean))
    cut = G.mapping(z, y, truncation_psi=0.0, truncation_cutoff=1)
    torch.testing.assert_close(cut[:, 0], mean.expand(4, 8))
    assert torch.equal(cut[:, 1:], full[:, 1:])
    images = G(z, y, truncation_psi=0.0, noise_mode="const")
    torch.testing.assert_close(images, images[:1].expand_as(images))


def test_w_avg_is_a_running_mean() -> None:
    G = small_generator(w_avg_beta=0.9)
    w = torch.randn(6, 8)
    G.mapping.track_w_avg(w)
    G.mapping.track_w_avg(w)
    torch.testing.assert_close(G.mapping.w_avg, w.mean(dim=0) * (1 - 0.9**2))


def test_noise_modes() -> None:
    G = small_generator()
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.5)
    z, y = torch.randn(2, 8), torch.tensor([0, 1])
    assert torch.equal(G(z, y, noise_mode="const"), G(z, y, noise_mode="const"))
    assert torch.equal(G(z, y, noise_mode="none"), G(z, y, noise_mode="none"))
    assert not torch.equal(G(z, y, noise_mode="random"), G(z, y, noise_mode="random"))
    assert not torch.equal(G(z, y, noise_mode="const"), G(z, y, noise_mode="none"))


def test_minibatch_standard_deviation_by_hand() -> None:
    torch.manual_seed(4)
    x = torch.randn(8, 3, 4, 4)
    out = MinibatchStd(4)(x)
    assert torch.equal(out[:, :3], x)
    for group in range(2):
        members = x[group::2]  # images n, n + 2, n + 4, n + 6 are one group
        expected = (members.double().var(dim=0, correction=0) + 1e-8).sqrt().mean().float()
        torch.testing.assert_close(out[group::2, 3], expected.expand(4, 4, 4))
    whole = MinibatchStd(None)(x)[:, 3]
    torch.testing.assert_close(whole, (x.var(dim=0, correction=0) + 1e-8).sqrt().mean().expand(8, 4, 4))
    assert MinibatchStd(32)(x).shape == (8, 4, 4, 4)  # a smaller batch is one group
    with pytest.raises(ValueError, match=r"batch of 6 .* groups of 4"):
        MinibatchStd(4)(x[:6])


def test_normalize_2nd_moment() -> None:
    x = torch.randn(5, 7) * 12
    torch.testing.assert_close(normalize_2nd_moment(x).square().mean(dim=1), torch.ones(5))


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
def test_discriminator_gradients_and_their_gradients(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # the networks go back to float32 in places
    D = small_discriminator(architecture=architecture, channel_max=2, mbstd_group_size=2).double()
    y = torch.tensor([0, 2])
    images = torch.randn(2, 1, 8, 8).double().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(images.shape, generator=generator).double() for _ in range(2)]

    # along two random directions: a full Jacobian would test the same with a hundred times the work
    def along(t: Tensor) -> Tensor:
        return D(images.detach() + t[0] * directions[0] + t[1] * directions[1], y)

    t = torch.zeros(2).double().requires_grad_()
    assert torch.autograd.gradcheck(along, (t,))
    assert torch.autograd.gradgradcheck(along, (t,))


def test_generator_double_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    G = small_generator(channel_max=2, w_dim=3).double()
    directions = torch.randn(2, 1, G.num_ws, 3, generator=torch.Generator().manual_seed(0)).double()

    def along(t: Tensor) -> Tensor:
        return G.synthesis(t[0] * directions[0] + t[1] * directions[1], noise_mode="const")

    t = torch.tensor([0.7, -0.4]).double().requires_grad_()
    assert torch.autograd.gradcheck(along, (t,))
    assert torch.autograd.gradgradcheck(along, (t,))


@pytest.mark.parametrize(
    ("network", "argument", "value"),
    [
        (Generator, "resolution", 24),
        (Generator, "resolution", 2),
        (Generator, "resolution", 2048),
        (Generator, "img_channels", 0),
        (Generator, "num_classes", -1),
        (Generator, "z_dim", 0),
        (Generator, "w_dim", -3),
        (Generator, "mapping_layers", 0),
        (Generator, "channel_max", 0),
        (Generator, "architecture", "unet"),
        (Generator, "class_names", ["a", "b"]),
        (Generator, "class_counts", [5]),
        (Discriminator, "resolution", 12),
        (Discriminator, "architecture", "vit"),
        (Discriminator, "mbstd_group_size", 0),
        (Discriminator, "mbstd_channels", 2),
        (Discriminator, "num_classes", -2),
    ],
)
def test_impossible_sizes_are_named(network: Callable[..., Any], argument: str, value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        network(**{**SMALL, argument: value})
    message = str(caught.value)
    assert argument in message
    assert str(len(value) if isinstance(value, list) else value) in message


def test_bad_input_is_named() -> None:
    G, D = small_generator(), small_discriminator()
    z, y = torch.randn(2, 8), torch.tensor([0, 1])
    for arguments, expected in [
        ((torch.randn(2, 9), y), r"\[2, 9\]"),
        ((z, None), "None"),
        ((z, torch.tensor([0, 3])), "class 3"),
        ((z, torch.tensor([-1, 0])), "class -1"),
        ((z, torch.tensor([0.0, 1.0])), "float32"),
        ((z, torch.tensor([[0, 1]])), r"\[1, 2\]"),
        ((z, torch.tensor([0, 1, 2])), "3 labels for a batch of 2"),
    ]:
        with pytest.raises(ValueError, match=expected):
            G(*arguments)
    with pytest.raises(ValueError, match="'loud'"):
        G(z, y, noise_mode="loud")
    with pytest.raises(ValueError, match=r"\[2, 3, 8\]"):
        G.synthesis(torch.randn(2, 3, 8))
    with pytest.raises(ValueError, match=r"\[2, 1, 16, 16\]"):
        D(torch.randn(2, 1, 16, 16), y)
    with pytest.raises(ValueError, match="class 7"):
        D(torch.randn(2, 1, 8, 8), torch.tensor([0, 7]))
    for labels in ([0, 1, 2, 0, 1], [1]):
        with pytest.raises(ValueError, match=f"{len(labels)} labels for a batch of 2"):
            D(torch.randn(2, 1, 8, 8), torch.tensor(labels))


def test_saved_networks_come_back_bit_for_bit(tmp_path: Path) -> None:
    G = small_generator(class_names=["a", "b", "c"], class_counts=[5, 3, 1]).eval()
    D = small_discriminator().eval()
    G.save_pretrained(tmp_path / "G")
    D.save_pretrained(tmp_path / "D")
    G2, D2 = Generator.from_pretrained(tmp_path / "G"), Discriminator.from_pretrained(tmp_path / "D")
    assert G2.class_names == ("a", "b", "c")
    assert G2.class_counts == (5, 3, 1)
    assert not G2.training
    for ours, theirs in [(G, G2), (D, D2)]:
        state = theirs.state_dict()
        assert state.keys() == ours.state_dict().keys()
        assert all(torch.equal(tensor, state[name]) for name, tensor in ours.state_dict().items())
    z, y = torch.randn(4, 8), torch.tensor([0, 1, 2, 2])
    images = G(z, y, noise_mode="const")
    assert torch.equal(G2(z, y, noise_mode="const"), images)
    assert torch.equal(D2(images, y), D(images, y))
    assert sorted(p.name for p in (tmp_path / "G").iterdir()) == ["config.json", "model.safetensors"]


def _missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["mapping.w_avg"]
    save_file(tensors, folder / "model.safetensors")


def _extra_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "surplus": torch.zeros(1)}, folder / "model.safetensors")


def _wrong_shape(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "mapping.w_avg": torch.zeros(9)}, folder / "model.safetensors")


def _truncated(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _change_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


@pytest.mark.parametrize(
    ("damage", "file", "what"),
    [
        (_missing_tensor, "model.safetensors", "mapping.w_avg"),
        (_extra_tensor, "model.safetensors", "surplus"),
        (_wrong_shape, "model.safetensors", r"\[9\]"),
        (_truncated, "model.safetensors", "can't be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors", "can't be read"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json", "can't be read"),
        (
            lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
            "config.json",
            "can't be read",
        ),
        (lambda folder: (folder / "config.json").write_text("[1]"), "config.json", "list"),
        (lambda folder: (folder / "config.json").unlink(), "config.json", "not a saved network"),
        (_change_config(**{"class": "Discriminator"}), "config.json", "Discriminator"),
        (_change_config(depth=3), "config.json", "depth"),
        (_change_config(resolution=24), "config.json", "resolution=24"),
        (_change_config(resolution="large"), "config.json", "can't be built"),
        (_change_config(z_dim=None), "config.json", "can't be built"),
    ],
)
def test_damaged_networks_name_the_file(
    tmp_path: Path, damage: Callable[[Path], Any], file: str, what: str
) -> None:
    small_generator().save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=what) as caught:
        Generator.from_pretrained(tmp_path)
    assert file in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loading_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        Generator.from_pretrained(tmp_path / "nowhere")
