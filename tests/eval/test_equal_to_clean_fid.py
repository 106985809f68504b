"""FID equal to clean-fid's on the same folders, with one stand-in network for both (the weights are a download)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn

from eval import evaluate
from gan_lt.data import open_image_set
from gan_lt.torchvision_compat import import_torchvision

PER_CLASS = 24


class Layers(nn.Module):
    """Inception's interface: (x - 128) / 128 of 299 pixels a side to features, here 24 of them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 24, 9, stride=8)
        with torch.no_grad():
            self.convolution.weight.mul_(60)  # so that the distance is of FID's size

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x).relu().mean(dim=(2, 3))


class StandIn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x - 128) / 128)


def write_folder(folder: Path, side: int, blur: float, kinds: list[tuple[str, str]]) -> Path:
    """Digits in colour at `side` pixels, blurred; kinds: (Pillow mode, file suffix), one after another."""
    digits = open_image_set("digits", resolution=16)
    rng = np.random.default_rng(side)
    for name in digits.class_names[:3]:
        (folder / name).mkdir(parents=True)
        members = np.flatnonzero(digits.labels == int(name))[:PER_CLASS]
        for index, image in enumerate(digits.images(members)):
            colour = rng.random((3, 1, 1)) * 0.7 + 0.3
            pixels = (image * colour).astype(np.uint8).transpose(1, 2, 0)
            picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
            mode, suffix = kinds[index % len(kinds)]
            picture = picture.filter(ImageFilter.GaussianBlur(blur)).convert(mode)
            picture.save(folder / name / f"{index}.{suffix}")
    return folder


CASES: dict[str, tuple[int, int, list[tuple[str, str]]]] = {
    "png": (32, 32, [("RGB", "png")]),
    "jpeg, another size a side": (48, 64, [("RGB", "jpg")]),
    "gray, palette and colour": (
        64,
        40,
        [("L", "png"), ("P", "png"), ("RGB", "png"), ("L", "jpg"), ("P", "png")],
    ),
    "gray alone": (33, 64, [("L", "png"), ("L", "jpg")]),
    "large": (320, 299, [("RGB", "jpg")]),
}


@pytest.mark.parametrize("case", CASES)
def test_fid_is_clean_fids(case: str, tmp_path: Path) -> None:
    import_torchvision()
    from cleanfid import fid

    real_side, fake_side, kinds = CASES[case]
    real = write_folder(tmp_path / "real", real_side, 0.0, kinds)
    fake = write_folder(tmp_path / "fake", fake_side, real_side / 20, kinds)
    network = StandIn().eval()
    torch.jit.script(network).save(str(tmp_path / "inception-2015-12-05.pt"))
    report = evaluate(real, fake, "inception", "fid", weights=tmp_path / "inception-2015-12-05.pt")
    settings: dict[str, Any] = {"device": torch.device("cpu"), "num_workers": 0, "use_dataparallel": False}
    theirs = fid.compute_fid(
        str(real), str(fake), mode="clean", custom_feat_extractor=network, verbose=False, **settings
    )
    assert theirs > 1, "the distance must be large enough for a difference to show"
    assert report.metrics["fid"] == pytest.approx(theirs, abs=1e-3)
