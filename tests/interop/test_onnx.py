"""Generators as ONNX files and torch.export programs: the same images as PyTorch, for any number of them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official_files import random_networks

from gan_lt.cli import main
from gan_lt.errors import InputError
from gan_lt.interop import export_onnx, export_program
from gan_lt.interop.exported_graphs import reference_output
from gan_lt.models import Discriminator, Generator

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def generator(**changes: Any) -> Generator:
    common = {"num_classes": 3, "resolution": 8, "channel_base": 64, "channel_max": 8}
    common |= {
        key: changes.pop(key)
        for key in tuple(changes)
        if key in ("num_classes", "resolution", "img_channels")
    }
    G, _ = random_networks({"mapping_layers": 2, **changes}, {"mapping_layers": 1}, common)
    return G


def latents(G: Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(n)
    z = torch.randn(n, G.z_dim, generator=source)
    return z, torch.randint(0, max(G.num_classes, 1), (n,), generator=source)


def run(file: Path, **inputs: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(inputs)
    (output,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return output


def close(found: np.ndarray, expected: torch.Tensor) -> bool:
    return float(np.abs(found - expected.numpy()).max()) <= 1e-4 * max(1.0, float(expected.abs().max()))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generator, dict[str, Path]]:
    """A conditional skip generator with clamps, and its three files, by way of safetensors and the command."""
    folder = tmp_path_factory.mktemp("onnx")
    G = generator(conv_clamp=0.5, class_names=["ä", "b|c", "d"])
    G.save_pretrained(folder / "saved")
    assert (
        main(["export", str(folder / "saved"), "--format", "onnx", "--out", str(folder / "new" / "net.onnx")])
        == 0
    )
    names = {"joined": "net.onnx", "mapping": "net.mapping.onnx", "synthesis": "net.synthesis.onnx"}
    assert sorted(p.name for p in (folder / "new").iterdir()) == sorted(names.values())
    return G, {part: folder / "new" / name for part, name in names.items()}


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("psi", [1.0, 0.5, 0.0])
def test_onnx_makes_the_same_images(exported: tuple[Generator, dict[str, Path]], n: int, psi: float) -> None:
    G, files = exported
    z, y = latents(G, n)
    truncation = torch.tensor(psi)
    with torch.no_grad():
        ws = G.mapping(z, y, truncation_psi=psi)
        images = G(z, y, truncation_psi=psi, noise_mode="const")
    assert close(run(files["joined"], z=z, y=y, psi=truncation), images)
    found = run(files["mapping"], z=z, y=y, psi=truncation)
    assert close(found, ws)
    assert close(run(files["synthesis"], ws=torch.from_numpy(found)), images)


def test_onnx_holds_everything_in_one_checked_file(exported: tuple[Generator, dict[str, Path]]) -> None:
    onnx = pytest.importorskip("onnx")
    G, files = exported
    for file in files.values():
        model = onnx.load(str(file), load_external_data=False)
        onnx.checker.check_model(model)
        assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}  # no operation of ours
        assert not any(t.external_data for t in model.graph.initializer)
        entry = {p.key: p.value for p in model.metadata_props}["gan_lt"]
        assert json.loads(entry)["class_names"] == ["ä", "b|c", "d"]
        assert json.loads(entry)["resolution"] == G.resolution


@pytest.mark.parametrize(
    "changes",
    [
        {"unconditional_resolution": 4},
        pytest.param({"architecture": "resnet", "num_classes": 0}, marks=pytest.mark.slow),
        pytest.param({"architecture": "skip", "num_classes": 0, "resolution": 32}, marks=pytest.mark.slow),
        pytest.param({"architecture": "resnet", "resolution": 16, "img_channels": 1}, marks=pytest.mark.slow),
        pytest.param({"architecture": "orig", "noise_inputs": False}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_other_generators(changes: dict[str, Any], tmp_path: Path) -> None:
    G = generator(**changes)
    files = export_onnx(G, tmp_path / "g.onnx", parts=["joined"])
    assert [p.name for p in tmp_path.iterdir()] == ["g.onnx"]
    z, y = latents(G, 3)
    labels = {"y": y} if G.num_classes else {}
    with torch.no_grad():
        images = G(z, y, truncation_psi=0.7, noise_mode="const")
    assert close(run(files["joined"], z=z, **labels, psi=torch.tensor(0.7)), images)


@pytest.mark.slow
def test_export_leaves_the_generator_as_it_is(tmp_path: Path) -> None:
    G = generator().train().to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in G.state_dict().items()}
    export_program(G, tmp_path / "g.pt2")
    assert G.training
    assert all(parameter.requires_grad for parameter in G.parameters())
    assert all(torch.equal(value, G.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize("unconditional_resolution", [0, 4])
def test_a_program_runs_where_gan_lt_is_not_installed(tmp_path: Path, unconditional_resolution: int) -> None:
    G = generator(class_names=["a", "b", "c"], unconditional_resolution=unconditional_resolution)
    G.save_pretrained(tmp_path / "saved")
    assert main(["export", str(tmp_path / "saved"), "--format=torch", "--out", str(tmp_path / "g.pt2")]) == 0
    z, y = latents(G, 4)
    with torch.no_grad():
        torch.save(
            {"z": z, "y": y, "images": G(z, y, truncation_psi=0.6, noise_mode="const")}, tmp_path / "t.pt"
        )
    program = """
import json, sys, torch
sys.modules["gan_lt"] = sys.modules["cuda_ops"] = None
given = torch.load("t.pt", weights_only=True)
extra = {"gan_lt.json": ""}
graph = torch.export.load("g.pt2", extra_files=extra).module()
images = graph(given["z"], given["y"], torch.tensor(0.6))
print(json.dumps([float((images - given["images"]).abs().max()), json.loads(extra["gan_lt.json"])["class_names"]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    difference, names = json.loads(done.stdout)
    assert difference < 1e-4
    assert names == ["a", "b", "c"]


def test_refusals_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    G = generator()
    with pytest.raises(InputError, match=r"must end in \.onnx"):
        export_onnx(G, tmp_path / "g.pt")
    with pytest.raises(InputError, match=r"must end in \.pt2"):
        export_program(G, tmp_path / "g.onnx")
    with pytest.raises(InputError, match="part='all'"):
        export_onnx(G, tmp_path / "g.onnx", parts=["all"])
    with pytest.raises(InputError, match="a Discriminator can't be exported"):
        export_onnx(Discriminator(0, 8, 1, 64, 8), tmp_path / "g.onnx")  # type: ignore[arg-type]
    assert main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "g.onnx")]) == 2
    assert "does not exist" in capsys.readouterr().err
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "onnxscript" else find(name, *a)
    )
    with pytest.raises(InputError, match=r"onnxscript: pip install gan-lt\[onnx\]"):
        export_onnx(G, tmp_path / "g.onnx")
    assert not list(tmp_path.iterdir())


def test_a_program_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = "gan_lt.interop.program_export.reference_output"
    monkeypatch.setattr(truth, lambda g, part, inputs: reference_output(g, part, inputs) + 0.01)
    with pytest.raises(InputError, match="the program computes images that differ"):
        export_program(generator(), tmp_path / "g.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    G = generator()
    (tmp_path / "g.mapping.onnx").write_bytes(b"earlier")
    truth = "gan_lt.interop.onnx_export.reference_output"
    monkeypatch.setattr(truth, lambda g, part, inputs: g.mapping(*inputs[:2]).detach() + 0.01)
    with pytest.raises(InputError, match="onnxruntime computes"):
        export_onnx(G, tmp_path / "g.onnx", parts=["mapping"])
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("g.mapping.onnx", b"earlier")]
