"""What no network can be built from, or asked for, is refused with a ValueError that shows it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gan_lt.interop import load_stylegan2_ada
from gan_lt.models import Discriminator, Generator, SnganDiscriminator, SnganGenerator

SMALL: dict[str, Any] = {
    "num_classes": 3,
    "resolution": 8,
    "img_channels": 1,
    "channel_max": 8,
    "mapping_layers": 2,
}
Z, Y = torch.randn(2, 8), torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("argument", "value"),
    [(name, value) for name in SMALL for value in ("a", 1.5, None, True)]
    + [("conv_clamp", value) for value in ("a", -1, 0, float("nan"))]
    + [("channel_base", "a")],
)
def test_a_size_that_is_none_is_named(argument: str, value: Any) -> None:
    for network in (Generator, Discriminator):
        with pytest.raises(ValueError) as error:
            network(**{**SMALL, argument: value})
        assert f"{argument}={value}" in str(error.value).replace("'", "")


@pytest.mark.parametrize("argument", ["z_dim", "w_dim"])
@pytest.mark.parametrize("value", ["a", 1.5, 0])
def test_a_latent_size_that_is_none_is_named(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{argument}={value!r}"):
        Generator(**{**SMALL, argument: value})


@pytest.mark.parametrize("value", ["a", 1.5, 0])
@pytest.mark.parametrize("argument", ["mbstd_group_size", "cmap_dim"])
def test_a_group_size_that_is_none_is_named(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{argument}={value!r}"):
        Discriminator(**{**SMALL, argument: value})


@pytest.mark.parametrize("sngan", [False, True])
def test_inputs_that_are_none_are_named(sngan: bool) -> None:
    if sngan:
        G: Any = SnganGenerator(8, 3, 8, 1, channels=4)
        D: Any = SnganDiscriminator(3, 8, 1, channels=4)
    else:
        G, D = Generator(z_dim=8, w_dim=8, **SMALL), Discriminator(**SMALL)
    images = G(Z, Y)
    calls: list[tuple[Any, str]] = [
        (lambda: G(Z.long(), Y), "int64"),
        (lambda: G(Z.numpy(), Y), "z must be"),
        (lambda: G(None, Y), "None"),
        (lambda: G(Z, [0, 2]), "[0, 2]"),
        (lambda: G(Z, 2), "y=2"),
        (lambda: G(Z, Y, truncation_psi="a"), "truncation_psi='a'"),
        (lambda: G(Z, Y, truncation_psi=float("nan")), "truncation_psi=nan"),
        (lambda: D(images.detach().numpy(), Y), "images must be"),
        (lambda: D(images.byte(), Y), "uint8"),
        (lambda: D(images, [0, 2]), "[0, 2]"),
        (lambda: D(images, Y[:1]), "1 labels for a batch of 2"),
    ]
    if not sngan:
        ws = G.mapping(Z, Y)
        calls += [
            (lambda: G.mapping(Z.long(), Y), "int64"),
            (lambda: G.synthesis(ws[..., :7]), "7]"),
            (lambda: G.synthesis(ws.detach().numpy()), "w must be"),
            (lambda: G.synthesis(ws.long()), "int64"),
        ]
    for call, shown in calls:
        with pytest.raises(ValueError) as error:
            call()
        assert shown in str(error.value)


def test_places_that_are_none_are_named(tmp_path: Path) -> None:
    for value in (None, 5):
        with pytest.raises(ValueError, match=f"={value}"):
            Generator.from_pretrained(value)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"={value}"):
            load_stylegan2_ada(value)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="file can't be made"):
        Generator(z_dim=8, w_dim=8, **SMALL).save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
