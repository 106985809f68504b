"""The step benchmark: what it prints and writes, with and without a peer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import step
from benchmarks.usual_way import compute_the_usual_way
from cuda_ops import use_backend
from gan_lt.models import Generator

PEER = """
from gan_lt.models import Discriminator as OurD, Generator as OurG


class Generator(OurG):
    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs, synthesis_kwargs):
        super().__init__(z_dim, c_dim, w_dim, img_resolution, img_channels, synthesis_kwargs["channel_base"],
                         synthesis_kwargs["channel_max"], mapping_layers=mapping_kwargs["num_layers"])

    def forward(self, z, c, noise_mode="random"):
        return super().forward(z, c.argmax(dim=1), noise_mode=noise_mode)


class Discriminator(OurD):
    def __init__(self, c_dim, img_resolution, img_channels, channel_base, channel_max, num_fp16_res, mapping_kwargs):
        super().__init__(c_dim, img_resolution, img_channels, channel_base, channel_max,
                         mapping_layers=mapping_kwargs["num_layers"])

    def forward(self, images, c):
        return super().forward(images, c.argmax(dim=1))
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "CHANNELS", 8)
    monkeypatch.setattr(step, "STEPS", 2)
    monkeypatch.setattr(step, "Z_DIM", 16)
    monkeypatch.setattr(step, "W_DIM", 16)


@pytest.mark.usefixtures("small")
def test_against_a_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clone = tmp_path / "clone"
    (clone / "training").mkdir(parents=True)
    (clone / "training" / "networks.py").write_text(PEER)
    file = tmp_path / "step.json"
    arguments = ["--peer", str(clone), "--batch", "4", "--rounds", "1", "--json", str(file)]
    assert step.main(arguments) == 0
    result = json.loads(file.read_text())
    for side in ("ours", "peer"):
        assert result[side]["train"] > 0
        assert result[side]["sample"] > 0
    for kind in ("train", "sample"):
        assert result["ratio"][kind] == pytest.approx(result["ours"][kind] / result["peer"][kind])
    assert "ratio" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_alone_and_with_a_wrong_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "step.json"
    assert step.main(["--batch", "4", "--rounds", "1", "--precision", "bf16", "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["peer"] is None
    assert result["dtype"] == "torch.bfloat16"
    assert step.main(["--peer", str(tmp_path), "--batch", "4", "--rounds", "1"]) == 2
    assert "no training/networks.py" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_beside_the_usual_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "step.json"
    assert step.main(["--usual", "--batch", "4", "--rounds", "1", "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    for kind in ("train", "sample"):
        assert result["ratio_to_usual"][kind] == pytest.approx(result["ours"][kind] / result["usual"][kind])
    assert "ratio_to_usual train" in capsys.readouterr().out


def test_the_usual_way_computes_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    G = Generator(
        num_classes=3, z_dim=16, w_dim=16, resolution=16, channel_base=256, channel_max=16
    ).requires_grad_(False)
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.3)
    z, y = torch.randn(2, 16, generator=generator), torch.tensor([0, 2])
    expected = G(z, y, noise_mode="const")
    compute_the_usual_way(G)
    with use_backend("reference"):
        torch.testing.assert_close(G(z, y, noise_mode="const"), expected, rtol=1e-4, atol=1e-4)
        assert not torch.equal(G(z, y, noise_mode="random"), G(z, y, noise_mode="none"))
        elsewhere = G.to("meta")(
            z.to("meta"), y.to("meta"), noise_mode="random"
        )  # noise stands where the images do
    assert elsewhere.shape == expected.shape
