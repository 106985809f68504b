"""Writes networks as the official StyleGAN2-ADA release writes them: nested persistent modules in a pickle."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cuda_ops import setup_filter
from gan_lt.interop.official_layout import official_name
from gan_lt.models import Discriminator, Generator


@contextmanager
def official_modules() -> Iterator[tuple[Callable[[Any], Any], type]]:
    """The official package's names, importable while a file is being written and gone afterwards."""
    persistence = types.ModuleType("torch_utils.persistence")
    dnnlib_util = types.ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("the official reconstruction ran")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    easy_dict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    dnnlib_util.EasyDict = easy_dict  # type: ignore[attr-defined]
    names = {
        "torch_utils": types.ModuleType("torch_utils"),
        "torch_utils.persistence": persistence,
        "dnnlib": types.ModuleType("dnnlib"),
        "dnnlib.util": dnnlib_util,
    }
    sys.modules.update(names)
    try:
        yield _reconstruct_persistent_obj, easy_dict
    finally:
        for name in names:
            del sys.modules[name]


class Persistent:
    """A module as the official persistence layer writes it."""

    def __init__(self, reconstruct: Callable[[Any], Any], meta: dict[str, Any]) -> None:
        self.reconstruct, self.meta = reconstruct, meta

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reconstruct, (self.meta,), None


def nest(
    tensors: Mapping[str, Tensor],
    kwargs: dict[str, Any],
    name: str,
    reconstruct: Callable[[Any], Any],
    easy_dict: type,
    source: str,
) -> Persistent:
    """Flat tensors as nested modules."""
    parameters: OrderedDict[str, Any] = OrderedDict()
    buffers: OrderedDict[str, Any] = OrderedDict()
    children: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        head, _, rest = key.partition(".")
        if rest:
            children.setdefault(head, {})[rest] = value
        elif head in ("noise_const", "w_avg", "resample_filter"):
            buffers[head] = value
        else:
            parameters[head] = torch.nn.Parameter(value.contiguous())
    modules = OrderedDict(
        (child, nest(inner, {}, child, reconstruct, easy_dict, source)) for child, inner in children.items()
    )
    state = {
        "training": False,
        "_parameters": parameters,
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_modules": modules,
        "_init_args": (),
        "_init_kwargs": easy_dict(kwargs),
        "img_channels": 3,
    }
    meta = easy_dict(type="class", version=6, module_src=source, class_name=name, state=state)
    return Persistent(reconstruct, meta)


def write_pickle(
    path: Path,
    g: Mapping[str, Tensor],
    d: Mapping[str, Tensor],
    g_kwargs: dict[str, Any],
    d_kwargs: dict[str, Any],
    source: str = "raise SystemExit('the source ran')",
    protocol: int = 4,
) -> Path:
    with official_modules() as (reconstruct, easy_dict):
        network = nest(g, g_kwargs, "Generator", reconstruct, easy_dict, source)
        content = {
            "training_set_kwargs": easy_dict(path="x.zip", resolution=8),
            "G": None,
            "D": nest(d, d_kwargs, "Discriminator", reconstruct, easy_dict, source),
            "G_ema": network,
            "augment_pipe": None,
        }
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert "dnnlib" not in sys.modules
    return path


def official(network: Generator | Discriminator) -> dict[str, Tensor]:
    """The network's tensors as the official release names and lays them out, with a stored filter."""
    tensors = {}
    for name, value in network.state_dict().items():
        moved = value.t() if name == "mapping.embed.weight" else value
        tensors[official_name(name, network.resolution)] = moved
    block = "synthesis.b4.resample_filter" if isinstance(network, Generator) else "b8.resample_filter"
    tensors[block] = setup_filter([1, 3, 3, 1])
    return tensors


def random_networks(
    g: dict[str, Any], d: dict[str, Any], common: dict[str, Any]
) -> tuple[Generator, Discriminator]:
    torch.manual_seed(3)
    G = Generator(z_dim=12, w_dim=10, **common, **g).eval()
    D = Discriminator(**common, **d).eval()
    with torch.no_grad():
        for network in (G, D):
            for name, value in network.state_dict().items():
                if value.ndim < 2 or "noise" in name:  # biases, noise strengths, w_avg: none is left at zero
                    value.copy_(torch.randn_like(value) * 0.3)
    return G, D


def official_kwargs(G: Generator, D: Discriminator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constructor arguments as the official training script passes them."""
    g, d = G.config, D.config
    shared = {"c_dim": g["num_classes"], "img_resolution": g["resolution"], "img_channels": g["img_channels"]}
    sizes = {name: g[name] for name in ("channel_base", "channel_max", "conv_clamp")}
    return (
        shared
        | {
            "z_dim": g["z_dim"],
            "w_dim": g["w_dim"],
            "mapping_kwargs": {"num_layers": g["mapping_layers"]},
            "synthesis_kwargs": sizes | {"num_fp16_res": 4, "architecture": g["architecture"]},
        },
        shared
        | {name: d[name] for name in ("channel_base", "channel_max", "conv_clamp")}
        | {
            "architecture": d["architecture"],
            "num_fp16_res": 4,
            "block_kwargs": {},
            "mapping_kwargs": {},
            "epilogue_kwargs": {"mbstd_group_size": d["mbstd_group_size"]},
        },
    )


def small(**changes: Any) -> dict[str, Any]:
    return {"num_classes": 3, "resolution": 8, "channel_base": 64, "channel_max": 12} | changes
