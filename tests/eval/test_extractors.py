"""Extractors: any callable, files, and the named networks with stand-in weights."""

from __future__ import annotations

import threading
import urllib.error
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eval.extractors import ExtractorContext, build_extractor, extractor_names, register_extractor
from eval.extractors.classifier import ClassifierExtractor, hash_state, jitter, resize_area, train_classifier
from eval.extractors.clean_resize import CleanResizer
from eval.extractors.vision_transformer import clip_features, dino_features, quick_gelu
from eval.sources import from_arrays
from gan_lt.errors import InputError
from gan_lt.torchvision_compat import import_torchvision


def images(n: int = 6, channels: int = 3, side: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def context(weights: Path | None = None, channels: int = 3) -> ExtractorContext:
    return ExtractorContext(
        from_arrays(images(6, channels), [0, 0, 0, 1, 1, 1], "reference"), weights=weights
    )


class Pooled(nn.Module):
    """A small network with the interface of the published Inception file."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def scripted(path: Path, channels: int = 3) -> Pooled:
    module = Pooled(channels).eval()
    torch.jit.script(module).save(str(path))
    return module


def test_a_callable_gets_uint8_arrays_and_a_module_gets_tensors() -> None:
    flat = build_extractor(lambda x: x.reshape(len(x), -1), context())
    features = flat(images())
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, images().reshape(6, -1))

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.dtype == torch.uint8
            return x.float().mean(dim=(2, 3))

    np.testing.assert_allclose(build_extractor(Mean(), context())(images()), images().mean((2, 3)), rtol=1e-6)


def test_a_callable_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"returned shape \(6, 3, 16, 16\) for 6 images"):
        build_extractor(lambda x: x, context())(images())


@pytest.mark.parametrize(("given", "message"), [("nope", "'nope' is neither a name"), (3, "features is 3")])
def test_unknown_features_are_named(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_extractor(given, context())


def test_a_registered_name_is_found_once() -> None:
    built = build_extractor(lambda x: x.reshape(len(x), -1), context())
    register_extractor("flat-for-this-test", lambda _: built)
    assert build_extractor("flat-for-this-test", context()) is built
    assert "flat-for-this-test" in extractor_names()
    with pytest.raises(InputError, match="'classifier' is taken"):
        register_extractor("classifier", lambda _: built)


def test_torchscript_files(tmp_path: Path) -> None:
    module = scripted(tmp_path / "net.pt")
    extractor = build_extractor(tmp_path / "net.pt", context())
    with torch.no_grad():
        expected = module(torch.from_numpy(images()).float()).numpy()
    np.testing.assert_allclose(extractor(images()), expected, rtol=1e-5)
    assert extractor.name == "net.pt"
    assert len(extractor.weights_hash or "") == 64
    (tmp_path / "bad.pt").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"bad\.pt can't be read as TorchScript"):
        build_extractor(tmp_path / "bad.pt", context())
    with pytest.raises(InputError, match=r"gone\.pt doesn't exist"):
        build_extractor(tmp_path / "gone.pt", context())


def test_onnx_files(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    nodes = [onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "mean",
        [value("x", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 3])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "mean.onnx"))
    extractor = build_extractor(tmp_path / "mean.onnx", context())
    np.testing.assert_allclose(extractor(images()), images().mean((2, 3)), rtol=1e-5)
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"bad\.onnx can't be read as ONNX"):
        build_extractor(tmp_path / "bad.onnx", context())


@pytest.mark.parametrize("side", [16, 33, 128, 299, 320])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_clean_fids(side: int, channels: int) -> None:
    import_torchvision()
    from cleanfid.resize import build_resizer

    given = images(2, channels, side)
    resize = CleanResizer(299)
    resize(images(5, channels, side))  # what another batch left in the buffers must not show
    resized = resize(given).numpy()
    theirs = build_resizer("clean")
    for ours, image in zip(resized, given, strict=True):
        rgb = np.repeat(image, 3 // channels, axis=0).transpose(1, 2, 0)
        np.testing.assert_allclose(ours.transpose(1, 2, 0), theirs(rgb), atol=1e-4)


def test_inception_is_what_clean_fid_computes(tmp_path: Path) -> None:
    """With one stand-in network for both: resize, quantisation and normalisation must be the same."""
    import_torchvision()
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import build_resizer

    class Wide(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(3, 2048, 16, stride=64), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            )

    path = tmp_path / "inception-2015-12-05.pt"
    torch.jit.script(Wide().eval()).save(str(path))
    ours = build_extractor("inception", context(path))(images())
    network = InceptionV3W(str(tmp_path), download=False)
    resizer = build_resizer("clean")
    batch = np.stack([resizer(image.transpose(1, 2, 0)).transpose(2, 0, 1) for image in images()])
    with torch.no_grad():
        theirs = network(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["inception", "clip", "dinov2"])
def test_without_network_the_message_says_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import eval.extractors.weights as weights
    from eval.extractors import inception, transformers

    def no_network(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(weights, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(weights.urllib.request, "urlopen", no_network)
    for module, constant in (
        (inception, "WEIGHTS"),
        (transformers, "CLIP_WEIGHTS"),
        (transformers, "DINO_WEIGHTS"),
    ):
        file = getattr(module, constant)
        monkeypatch.setattr(module, constant, weights.WeightsFile(**{**vars(file), "elsewhere": ()}))
        monkeypatch.delenv(file.variable, raising=False)
    with pytest.raises(
        InputError, match=r"no route to host.*--weights FILE.*--features classifier"
    ) as caught:
        build_extractor(name, context())
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").glob("*")), "nothing half-written"
    with pytest.raises(InputError, match=r"gone\.pt don't exist"):
        build_extractor(name, context(tmp_path / "gone.pt"))


class HalfAFile(BaseHTTPRequestHandler):
    """Promises 1000 bytes, sends 600 and hangs up."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(bytes(600))

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_a_download_that_ends_early_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import eval.extractors.weights as weights

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(weights, "CACHE", tmp_path / "cache")
    with HTTPServer(("127.0.0.1", 0), HalfAFile) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        file = weights.WeightsFile(
            "dinov2", "w.pth", f"http://127.0.0.1:{server.server_port}/w.pth", 1, "NONE"
        )
        with pytest.raises(InputError, match="ended after 600 of 1000 bytes"):
            weights.find_weights(file)
        serving.join()
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_home_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import eval.extractors.weights as weights

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "CACHE", Path("~/.cache/gan_lt"))
    file = weights.WeightsFile("dinov2", "w.pth", "http://127.0.0.1:9/w.pth", 1, "NONE")
    with pytest.raises(InputError, match=r"no home folder.*--weights FILE"):
        weights.find_weights(file)
    assert not list(tmp_path.iterdir())


def clip_weights(width: int = 128, depth: int = 2) -> dict[str, Tensor]:
    layer = nn.TransformerEncoderLayer(
        width, width // 64, 4 * width, 0.0, quick_gelu, batch_first=True, norm_first=True
    )
    state = {"visual.conv1.weight": torch.randn(width, 3, 32, 32) * 0.05}
    for index in range(depth):
        prefix = f"visual.transformer.resblocks.{index}."
        for ours, theirs in (
            ("ln_1", "norm1"),
            ("ln_2", "norm2"),
            ("mlp.c_fc", "linear1"),
            ("mlp.c_proj", "linear2"),
            ("attn.out_proj", "self_attn.out_proj"),
        ):
            for part in ("weight", "bias"):
                state[f"{prefix}{ours}.{part}"] = (
                    torch.randn_like(layer.state_dict()[f"{theirs}.{part}"]) * 0.1
                )
        for part in ("weight", "bias"):
            original = layer.state_dict()[f"self_attn.in_proj_{part}"]
            state[f"{prefix}attn.in_proj_{part}"] = torch.randn_like(original) * 0.1
    state["visual.class_embedding"] = torch.randn(width)
    state["visual.positional_embedding"] = torch.randn(50, width)
    for name in ("ln_pre", "ln_post"):
        state[f"visual.{name}.weight"], state[f"visual.{name}.bias"] = torch.rand(width), torch.randn(width)
    state["visual.proj"] = torch.randn(width, 32)
    return state


def test_clip_is_a_pre_norm_transformer() -> None:
    """Against torch's own encoder layers with the same weights."""
    torch.manual_seed(0)
    width, depth = 128, 2
    state = clip_weights(width, depth)
    pixels = torch.randn(3, 3, 224, 224)
    layers = []
    for index in range(depth):
        prefix = f"visual.transformer.resblocks.{index}."
        layer = nn.TransformerEncoderLayer(
            width, width // 64, 4 * width, 0.0, quick_gelu, batch_first=True, norm_first=True
        )
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": state[prefix + "attn.in_proj_weight"],
                "self_attn.in_proj_bias": state[prefix + "attn.in_proj_bias"],
                **{
                    f"{theirs}.{part}": state[f"{prefix}{ours}.{part}"]
                    for ours, theirs in (
                        ("ln_1", "norm1"),
                        ("ln_2", "norm2"),
                        ("mlp.c_fc", "linear1"),
                        ("mlp.c_proj", "linear2"),
                        ("attn.out_proj", "self_attn.out_proj"),
                    )
                    for part in ("weight", "bias")
                },
            }
        )
        layers.append(layer)
    with torch.no_grad():
        tokens = (
            nn.functional.conv2d(pixels, state["visual.conv1.weight"], stride=32).flatten(2).transpose(1, 2)
        )
        first = state["visual.class_embedding"].expand(3, 1, -1)
        x = torch.cat([first, tokens], 1) + state["visual.positional_embedding"]
        x = nn.functional.layer_norm(x, (width,), state["visual.ln_pre.weight"], state["visual.ln_pre.bias"])
        for layer in layers:
            x = layer(x)
        x = nn.functional.layer_norm(
            x[:, 0], (width,), state["visual.ln_post.weight"], state["visual.ln_post.bias"]
        )
        torch.testing.assert_close(
            clip_features(state, pixels), x @ state["visual.proj"], rtol=1e-4, atol=1e-4
        )


def test_dinov2_runs_on_a_file_and_resamples_positions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    width = 64
    state = {
        "cls_token": torch.randn(1, 1, width),
        "pos_embed": torch.randn(1, 1 + 37 * 37, width),
        "patch_embed.proj.weight": torch.randn(width, 3, 14, 14) * 0.05,
        "patch_embed.proj.bias": torch.randn(width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    shapes = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "ls1.gamma": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
        "ls2.gamma": (width,),
    }
    state |= {f"blocks.0.{name}": torch.randn(shape) * 0.1 for name, shape in shapes.items()}
    torch.save(state, tmp_path / "dino.pth")
    features = build_extractor("dinov2", context(tmp_path / "dino.pth"))(images(2))
    assert features.shape == (2, width)
    assert np.abs(features.mean(axis=1)).max() < 1e-5, "the class token comes normalised"
    # with layer scales of 0 the blocks do nothing, and the class token is the same for every image
    still = {**state, "blocks.0.ls1.gamma": torch.zeros(width), "blocks.0.ls2.gamma": torch.zeros(width)}
    token = state["cls_token"][0] + state["pos_embed"][0, :1]
    expected = nn.functional.layer_norm(token, (width,), eps=1e-6)
    out = dino_features(still, torch.randn(2, 3, 224, 224))
    torch.testing.assert_close(out, expected.expand(2, -1), rtol=1e-5, atol=1e-5)
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="is not a DINOv2"):
        build_extractor("dinov2", context(tmp_path / "other.pth"))


def test_classifier_learns_the_digits_and_repeats_itself(
    judge: ClassifierExtractor,
    training: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
) -> None:
    unseen, labels = training
    accuracy = (judge.probabilities(unseen).argmax(1) == labels).mean()
    assert accuracy > 0.97
    features = judge(unseen[:10])
    assert features.shape == (10, 64)
    assert features.dtype == np.float32


def test_classifier_is_deterministic() -> None:
    data, labels = torch.from_numpy(images()), np.array([0, 0, 0, 1, 1, 1])
    first, again, other = (
        train_classifier(data, labels, 2, seed=seed, images_seen=640) for seed in (0, 0, 1)
    )
    assert hash_state(first) == hash_state(again) != hash_state(other)
    one_class = from_arrays(images(), [0] * 6, "reference")
    with pytest.raises(InputError, match="at least 2 classes"):
        build_extractor("classifier", ExtractorContext(one_class))


def test_jitter_never_mirrors() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(64, 1, 16, 16).contiguous()
    moved = jitter(ramp, torch.Generator().manual_seed(0))
    assert (moved[..., -1].mean(dim=(1, 2)) > moved[..., 0].mean(dim=(1, 2))).all()


def test_resize_area_keeps_means_and_sizes() -> None:
    given = images(2, 3, 64)
    assert resize_area(given, 64) is given
    small = resize_area(given, 32)
    assert small.shape == (2, 3, 32, 32)
    assert small.dtype == np.uint8
    np.testing.assert_allclose(small.mean((2, 3)), given.mean((2, 3)), atol=1.5)
