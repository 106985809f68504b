"""StyleGAN2-ADA import: golden numbers, every configuration, hostile and damaged files."""

from __future__ import annotations

import copyreg
import io
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from official_files import official, official_kwargs, random_networks, small, write_pickle
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_lt.errors import InputError
from gan_lt.interop import load_stylegan2_ada
from gan_lt.interop.command import import_command
from gan_lt.interop.restricted_pickle import read_restricted_pickle
from gan_lt.models import Discriminator, Generator

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "stylegan2_ada_skip_resnet.safetensors"
needs_golden = pytest.mark.skipif(
    not GOLDEN.exists(), reason="needs ../shared/golden (reference numbers, not shipped)"
)


@pytest.fixture
def networks() -> tuple[Generator, Discriminator]:
    return random_networks({"mapping_layers": 2}, {"mapping_layers": 2}, small())


@pytest.fixture
def snapshot(tmp_path: Path, networks: tuple[Generator, Discriminator]) -> Path:
    G, D = networks
    return write_pickle(tmp_path / "net.pkl", official(G), official(D), *official_kwargs(G, D))


def assert_same(
    ours: tuple[Generator, Discriminator], imported: tuple[Generator, Discriminator], scale: float = 1.0
) -> None:
    G, D = ours
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, G.z_dim, generator=generator) * scale
    y = None if G.num_classes == 0 else torch.arange(4) % G.num_classes
    with torch.no_grad():
        image = G(z, y, truncation_psi=0.7, noise_mode="const")
        assert torch.equal(image, imported[0](z, y, truncation_psi=0.7, noise_mode="const"))
        assert torch.equal(D(image, y), imported[1](image, y))
    assert image.isfinite().all()
    assert image.std() > 0


@needs_golden
@pytest.mark.parametrize("form", ["safetensors", "mapping", "pickle", "nested"])
def test_golden(form: str, tmp_path: Path) -> None:
    golden = load_file(GOLDEN)
    parts = {p: {k[2:]: v for k, v in golden.items() if k.startswith(f"{p}.")} for p in "GD"}
    source: Any = {"safetensors": GOLDEN, "mapping": golden, "nested": parts}.get(form)
    if form == "pickle":
        source = write_pickle(tmp_path / "golden.pkl", parts["G"], parts["D"], {"c_dim": 4}, {"c_dim": 4})
    G, D = load_stylegan2_ada(source)
    assert not G.training
    y = golden["c"].argmax(dim=1)
    with torch.no_grad():
        for ours, name in [
            (G.mapping(golden["z"], y), "w"),
            (G(golden["z"], y, noise_mode="const"), "image"),
            (G(golden["z"], y, truncation_psi=0.7, noise_mode="const"), "image_psi07"),
            (D(golden["image"], y).unsqueeze(1), "d_logits"),
        ]:
            assert (ours - golden[name]).abs().max() < 1e-4 * golden[name].abs().max(), name


@pytest.mark.parametrize(
    ("g", "d", "common"),
    [
        ({"architecture": "skip"}, {"architecture": "resnet"}, small(num_classes=0, resolution=16)),
        ({"architecture": "orig"}, {"architecture": "orig"}, small(resolution=32)),
        ({"architecture": "resnet"}, {"architecture": "skip"}, small(resolution=64, channel_base=300)),
        ({"architecture": "orig", "mapping_layers": 3}, {"mapping_layers": 5}, small(conv_clamp=0.25)),
        ({"architecture": "resnet"}, {"architecture": "orig", "mbstd_group_size": 2}, small(img_channels=1)),
        ({"mapping_layers": 2}, {"cmap_dim": 7}, small(num_classes=1)),
        ({"noise_inputs": False}, {"mbstd_channels": 0}, small(resolution=16, channel_max=5)),
        # the release's own settings for CIFAR-10, and those for 256x256 in half precision, at a tenth of the width
        (
            {"mapping_layers": 2},
            {"architecture": "orig", "mbstd_group_size": 32},
            small(num_classes=10, resolution=32),
        ),
        ({"mapping_layers": 8}, {"mbstd_group_size": 8}, small(num_classes=0, resolution=64, conv_clamp=256)),
        (
            {"architecture": "orig"},
            {"architecture": "skip"},
            small(num_classes=0, resolution=64, img_channels=1),
        ),
    ],
)
def test_configurations_round_trip(
    g: dict[str, Any], d: dict[str, Any], common: dict[str, Any], tmp_path: Path
) -> None:
    G, D = random_networks(g, d, common)
    path = write_pickle(tmp_path / "net.pkl", official(G), official(D), *official_kwargs(G, D))
    imported = load_stylegan2_ada(path)
    assert_same((G, D), imported)
    for ours, theirs in zip((G, D), imported, strict=True):
        assert theirs.config == ours.config | (
            {} if ours.num_classes else {"mapping_layers": theirs.config["mapping_layers"]}
        )


@pytest.mark.parametrize("protocol", [2, 3, 5])
def test_other_pickle_protocols(
    protocol: int, tmp_path: Path, networks: tuple[Generator, Discriminator]
) -> None:
    G, D = networks
    path = write_pickle(
        tmp_path / "p.pkl", official(G), official(D), *official_kwargs(G, D), protocol=protocol
    )
    assert_same(networks, load_stylegan2_ada(str(path)))


def test_plain_tensors_without_settings(networks: tuple[Generator, Discriminator], tmp_path: Path) -> None:
    G, D = networks
    tensors = {f"G.{k}": v.contiguous() for k, v in official(G).items()}
    tensors |= {f"D.{k}": v.contiguous() for k, v in official(D).items()}
    save_file(tensors, tmp_path / "net.safetensors")
    assert_same(networks, load_stylegan2_ada(tensors))
    assert_same(networks, load_stylegan2_ada(tmp_path / "net.safetensors"))


def test_defaults_are_read_from_the_source_text(
    networks: tuple[Generator, Discriminator], tmp_path: Path
) -> None:
    source = "class SynthesisBlock(X):\n    def __init__(self,\n        conv_clamp = 256,  # limit\n    ): raise 1\n"
    G, D = load_stylegan2_ada(
        write_pickle(tmp_path / "s.pkl", official(networks[0]), official(networks[1]), {}, {}, source)
    )
    assert G.config["conv_clamp"] == 256
    assert D.config["conv_clamp"] is None


def test_import_then_pretrained(snapshot: Path, networks: Any, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert import_command([str(snapshot), str(out)], "gan-lt import") == 0
    assert "8x8, 3 classes" in capsys.readouterr().out
    loaded = (
        Generator.from_pretrained(out / "generator"),
        Discriminator.from_pretrained(out / "discriminator"),
    )
    assert_same(networks, loaded)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pkl", "out"]
    with pytest.raises(InputError, match="not an empty folder"):
        import_command([str(snapshot), str(out)], "gan-lt import")


def test_failed_import_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.pkl").write_bytes(b"no")
    with pytest.raises(InputError):
        import_command([str(tmp_path / "bad.pkl"), str(tmp_path / "out")], "gan-lt import")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pkl"]


class Hostile:
    """Writes a marker file when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def test_hostile_globals_are_refused_by_name(tmp_path: Path) -> None:
    import os

    marker = tmp_path / "ran"
    calls = {
        "system": Hostile(os.system, f"touch {marker}"),
        "builtins.eval": Hostile(eval, f"open({str(marker)!r}, 'w')"),
        "builtins.getattr": Hostile(getattr, "a", "upper"),
        "torch.serialization.load": Hostile(torch.load, str(marker)),  # noqa: TID251  the attack
        "copyreg.add_extension": Hostile(copyreg.add_extension, "os", "system", 99),
    }
    path = tmp_path / "hostile.pkl"
    for name, call in calls.items():
        path.write_bytes(pickle.dumps({"G_ema": call, "D": None}, protocol=3))
        with pytest.raises(InputError, match=name):
            load_stylegan2_ada(path)
    assert not marker.exists()


def test_hostile_files_are_refused_by_every_command(tmp_path: Path, capsys: Any) -> None:
    """os.system where a network is expected, and deep inside one: gan-lt import and train --init-from."""
    import os

    from gan_lt.cli import main

    marker = tmp_path / "ran"
    call = Hostile(os.system, f"touch {marker}")
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps({"G_ema": call, "D": None}))
    G, D = random_networks({"mapping_layers": 2}, {"mapping_layers": 2}, small())
    inside = write_pickle(tmp_path / "inside.pkl", official(G), official(D), {"synthesis_kwargs": call}, {})
    for file in (plain, inside):
        for command in (
            ["import", str(file), str(tmp_path / "out")],
            ["train", "--data", "digits", "--outdir", str(tmp_path / "runs"), "--init-from", str(file)],
        ):
            assert main(command) == 2
            assert ".system, which no network needs; nothing of it was run" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside.pkl", "plain.pkl"]


def test_a_hostile_storage_is_not_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    inner = io.BytesIO()
    torch.save(Hostile(open, str(marker), "w"), inner, _use_new_zipfile_serialization=False)
    load = torch.storage._load_from_bytes
    path = tmp_path / "inner.pkl"
    path.write_bytes(pickle.dumps({"G_ema": Hostile(load, inner.getvalue())}))
    with pytest.raises(InputError, match=r"inner\.pkl"):
        load_stylegan2_ada(path)
    assert not marker.exists()


def test_the_source_is_never_run(networks: tuple[Generator, Discriminator], tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    source = f"open({str(marker)!r}, 'w').close()\nimport os\nos._exit(3)\n"
    path = write_pickle(tmp_path / "s.pkl", official(networks[0]), official(networks[1]), {}, {}, source)
    assert_same(networks, load_stylegan2_ada(path))
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_a_tensor_can_not_reach_past_its_storage(tmp_path: Path) -> None:
    rebuild = torch._utils._rebuild_tensor_v2
    storage = torch.storage.TypedStorage(4, dtype=torch.float32)
    for size, stride, offset in [((5,), (1,), 0), ((4,), (1,), 1), ((1 << 40,), (0,), 0), ((-1,), (1,), 0)]:
        path = tmp_path / "t.pkl"
        path.write_bytes(
            pickle.dumps({"G_ema": Hostile(rebuild, storage, offset, size, stride, False, OrderedDict())})
        )
        with pytest.raises(InputError, match="tensor"):
            load_stylegan2_ada(path)


def test_the_stand_ins_can_not_be_changed(tmp_path: Path) -> None:
    """BUILD with slot state sets attributes; on a class or function it would outlive the file."""
    for module, name in [
        ("torch_utils.persistence", "_reconstruct_persistent_obj"),
        ("dnnlib.util", "EasyDict"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch.nn.modules.linear", "Linear"),
    ]:
        program = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"N}X\x04\x00\x00\x00evilK\x01s\x86b."
        (tmp_path / "b.pkl").write_bytes(program)
        with pytest.raises(InputError, match=r"'evil'|__setstate__"):
            load_stylegan2_ada(tmp_path / "b.pkl")


@pytest.mark.parametrize(
    ("function", "arguments", "reason"),
    [
        ("torch._utils._rebuild_tensor_v2", ("x", 0, (1,), (1,)), "a tensor's storage is not one"),
        ("torch._utils._rebuild_parameter", ("x",), "a parameter holds no tensor"),
        ("torch.storage._load_from_bytes", ("x",), "a tensor's storage is not bytes"),
        ("torch.Size", ("x",), "a torch.Size is not made of numbers"),
        ("numpy.dtype", ("O8",), "numpy dtype 'O8' is not a number's"),
        ("numpy.core.multiarray.scalar", ("f4", b"1234"), "a numpy scalar is malformed"),
        ("_codecs.encode", ("x", "utf7"), "bytes are encoded as 'utf7'"),
        ("copyreg._reconstructor", ("os.system",), "it makes an instance of os.system"),
        ("torch_utils.persistence._reconstruct_persistent_obj", ("x",), "a persistent object has no state"),
        (
            "torch_utils.persistence._reconstruct_persistent_obj",
            ({"state": {}, "type": "module"},),
            "a persistent object has the unknown type 'module'",
        ),
    ],
)
def test_permitted_functions_refuse_what_no_network_gives_them(
    function: str, arguments: tuple[object, ...], reason: str
) -> None:
    module, _, name = function.rpartition(".")
    program = b"\x80\x02c" + f"{module}\n{name}\n".encode() + pickle.dumps(arguments, 2)[2:-1] + b"R."
    with pytest.raises(InputError, match=f"^x.pkl: refused, because {re.escape(reason)}; import only"):
        read_restricted_pickle(program, "x.pkl")


def test_nothing_outside_the_file_is_read() -> None:
    with pytest.raises(InputError, match="refused, because it refers to objects outside the file"):
        read_restricted_pickle(b"\x80\x02NQ.", "x.pkl")


def test_truncated_files(snapshot: Path) -> None:
    data = snapshot.read_bytes()
    for size in (0, 1, 10, len(data) // 3, len(data) // 2, len(data) - 1):
        snapshot.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"net\.pkl: not a complete"):
            load_stylegan2_ada(snapshot)


def test_damaged_bytes_never_escape_as_other_errors(snapshot: Path) -> None:
    data = bytearray(snapshot.read_bytes())
    generator = torch.Generator().manual_seed(1)
    refused = 0
    for position in torch.randint(0, len(data), (40,), generator=generator).tolist():
        damaged = data.copy()
        damaged[position] ^= 0x55
        snapshot.write_bytes(damaged)
        try:
            load_stylegan2_ada(snapshot)  # a flipped bit of a weight can't be told
        except InputError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip", b"hello\n", pickle.dumps([1]), pickle.dumps({"D": 1})]
)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pkl"):
        load_stylegan2_ada(tmp_path / "x.pkl")


def test_no_such_file_or_device(tmp_path: Path) -> None:
    for name in ("none.pkl", "none.safetensors"):
        with pytest.raises(InputError, match=name):
            load_stylegan2_ada(tmp_path / name)
    with pytest.raises(InputError, match="nowhere"):
        load_stylegan2_ada({}, device="nowhere")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("G", "synthesis.b8.conv0.weight"),
        ("G", "synthesis.b4.conv1.weight"),
        ("G", "mapping.w_avg"),
        ("G", "mapping.fc0.weight"),
        ("D", "b4.out.bias"),
        ("D", "b8.fromrgb.weight"),
        ("D", "mapping.embed.bias"),
    ],
)
def test_missing_tensor_is_named(part: str, name: str, networks: tuple[Generator, Discriminator]) -> None:
    tensors = {"G": official(networks[0]), "D": official(networks[1])}
    del tensors[part][name]
    with pytest.raises(InputError, match=rf"lacks the tensor '{part}\.{name}'"):
        load_stylegan2_ada(tensors)


def test_misfits_are_named(networks: tuple[Generator, Discriminator]) -> None:
    G, D = official(networks[0]), official(networks[1])
    changes: list[tuple[str, Tensor, str]] = [
        ("mapping.proj_embedd.weight", torch.zeros(2, 2), "proj_embedd"),
        ("mapping.fc1.bias", torch.zeros(3), r"fc1\.bias.*shape \[3\]"),
        ("synthesis.b4.resample_filter", torch.ones(4, 4), "filter"),
        ("synthesis.b4.conv1.affine.weight", torch.zeros(12, 1), "shape"),
        ("synthesis.b8.conv1.weight", torch.zeros(13, 13, 3, 3), "channels"),
    ]
    for name, value, message in changes:
        if message == "channels":
            changed = G | {name: value, "synthesis.b4.conv1.weight": torch.zeros(2, 2, 3, 3)}
        else:
            changed = G | {name: value}
        with pytest.raises(InputError, match=message):
            load_stylegan2_ada({"G": changed, "D": D})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"synthesis_kwargs": {"res_uc": 8}}, "res_uc=8"),
        ({"mapping_kwargs": {"activation": "relu"}}, "activation='relu'"),
        ({"synthesis_kwargs": {"conv_clamp": "many"}}, "conv_clamp='many'"),
        ({"synthesis_kwargs": {"conv_clamp": float("nan")}}, "conv_clamp=nan"),
    ],
)
def test_variants_that_compute_something_else_are_refused(
    kwargs: dict[str, Any], message: str, networks: tuple[Generator, Discriminator], tmp_path: Path
) -> None:
    path = write_pickle(tmp_path / "v.pkl", official(networks[0]), official(networks[1]), kwargs, {})
    with pytest.raises(InputError, match=message):
        load_stylegan2_ada(path)
