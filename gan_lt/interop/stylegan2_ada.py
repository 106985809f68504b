"""StyleGAN2-ADA networks (Karras et al., NeurIPS 2020) as gan_lt's: the official .pkl files, and plain tensors."""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gan_lt.errors import InputError
from gan_lt.interop.official_layout import (
    check_filters,
    discriminator_config,
    generator_config,
    missing_or_unknown,
    official_name,
)
from gan_lt.interop.restricted_pickle import MAX_FILE_BYTES, ModuleRecord, read_restricted_pickle
from gan_lt.models import Discriminator, Generator
from gan_lt.models.shapes_only import ShapesOnly

Network = TypeVar("Network", Generator, Discriminator)
Source = str | os.PathLike[str] | Mapping[str, Any]
MAX_MODULES = 10_000
MAX_DEPTH = 16
FIXED_ARGUMENTS: Mapping[str, object] = {"activation": "lrelu", "resample_filter": [1, 3, 3, 1]}
# Descendants of the release add arguments of their own; one that is on can change what the same tensors compute.
KNOWN_ARGUMENTS = frozenset(
    "z_dim c_dim w_dim img_resolution img_channels mapping_kwargs synthesis_kwargs block_kwargs epilogue_kwargs "
    "layer_kwargs channel_base channel_max num_fp16_res use_fp16 fp16_channels_last fused_modconv_default conv_clamp "
    "architecture cmap_dim num_layers embed_features layer_features activation lr_multiplier w_avg_beta "
    "resample_filter use_noise freeze_layers mbstd_group_size mbstd_num_channels class_name".split()
)


@dataclass(frozen=True)
class OfficialNetwork:
    """A network as a file holds it: its tensors by official name, constructor arguments and source text."""

    tensors: dict[str, Tensor]
    init_kwargs: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def setting(self, name: str, owner: str, default: Any, where: str) -> Any:
        """A constructor argument: as given, else the default written in the source, else the official one.

        The source text is searched for `name=number` in the class `owner`; it is never run.
        """
        groups = ["mapping_kwargs"] if owner == "MappingNetwork" else ["synthesis_kwargs", "block_kwargs"]
        groups += ["epilogue_kwargs"] if owner == "DiscriminatorEpilogue" else []
        groups += ["layer_kwargs"]
        scopes = [self.init_kwargs, *(self.init_kwargs.get(group) for group in groups)]
        for scope in reversed(scopes):
            if isinstance(scope, Mapping) and name in scope:
                return _number(name, scope[name], where)
        start = re.search(rf"^class {owner}\b", self.source, re.MULTILINE)
        if start:
            body = re.split(r"^class ", self.source[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]
            written = re.search(rf"^\s*{name}\s*=\s*(None|[0-9.]+)\s*[,)#\n]", body, re.MULTILINE)
            if written and re.fullmatch(r"\d+", written[1]):
                return int(written[1])
            if written and re.fullmatch(r"\d+\.\d*|\.\d+", written[1]):
                return float(written[1])
            if written and written[1] == "None":
                return None
        return default


def load_stylegan2_ada(
    source: Source, *, device: str | torch.device = "cpu"
) -> tuple[Generator, Discriminator]:
    """A StyleGAN2-ADA generator and discriminator, in evaluation mode; no code from the file is run.

    Args:
        source: a .pkl file of the official PyTorch release or a descendant with the same format (its `G_ema` is the
            generator where it has one), a .safetensors file, or a mapping, with the official parameter names after
            "G." ("G_ema.") and "D.", as in "G.mapping.fc0.weight"; other names are ignored.
        device: where the networks go.

    Returns:
        (G, D), float32; `save_pretrained` keeps them. Sizes and architecture are read off the tensors. A plain set of
        tensors does not tell conv_clamp (taken to be None) and the minibatch-stddev group (4).

    Raises:
        InputError: no such file, not a network, truncated, a tensor missing or of another shape (named), an
            architecture that gan_lt does not have, or a pickle that asks for anything but tensors and plain containers.
    """
    where = "state dict" if isinstance(source, Mapping) else str(source)
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device={device!r} is none that torch knows; pass cpu or cuda") from error
    if isinstance(source, Mapping):
        official = _from_mapping(source, where)
    else:
        if not isinstance(source, str | os.PathLike):
            raise InputError(f"source={repr(source)[:200]} must be a file or a mapping of tensors")
        path = Path(source)
        official = (
            _from_safetensors(path, where) if path.suffix == ".safetensors" else _from_pickle(path, where)
        )
    G = _build(Generator, official[0], "G.", where)
    D = _build(Discriminator, official[1], "D.", where)
    return G.to(target), D.to(target)


def _build(cls: type[Network], official: OfficialNetwork, prefix: str, where: str) -> Network:
    """The network of class `cls` with the official one's tensors."""

    def settings(name: str, owner: str, default: Any) -> Any:
        return official.setting(name, owner, default, where)

    _check_arguments(official.init_kwargs, where)
    check_filters(official.tensors, prefix, where)
    infer = generator_config if cls is Generator else discriminator_config
    config = infer(official.tensors, settings, where)
    try:
        with ShapesOnly():  # nothing is allocated for a file whose tensors don't agree
            expected = cls(**config).state_dict()
        names = {ours: official_name(ours, config["resolution"]) for ours in expected}
        shapes = {names[ours]: _official(ours, value).shape for ours, value in expected.items()}
        missing_or_unknown(shapes, official.tensors, prefix, where)
        network = cls(**config)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: gan_lt has no such network ({error})") from error
    # the class embedding is looked up by row here, and multiplied with a one-hot vector there: transposed
    network.load_state_dict(
        {ours: _official(ours, official.tensors[names[ours]]).float() for ours in expected}
    )
    network.eval()
    return network


def _official(ours: str, value: Tensor) -> Tensor:
    """Between our layout and the official one, either way."""
    return value.t() if ours == "mapping.embed.weight" else value


def _number(name: str, value: object, where: str) -> object:
    if value is None or (type(value) in (int, float) and math.isfinite(float(str(value)))):
        return value
    raise InputError(f"{where}: {name}={reprlib.repr(value)} is not a number")


def _check_arguments(kwargs: Mapping[str, Any], where: str, depth: int = 0) -> None:
    """InputError for a constructor argument, at any level, that makes another network out of the same tensors."""
    for name, value in kwargs.items():
        if name in FIXED_ARGUMENTS and _plain(value) != FIXED_ARGUMENTS[name]:
            raise InputError(
                f"{where}: {name}={reprlib.repr(value)} can't be imported; gan_lt's networks have {FIXED_ARGUMENTS[name]!r}"
            )
        if name not in KNOWN_ARGUMENTS and _plain(value) not in (None, 0, -1):
            raise InputError(
                f"{where}: the network was made with {name}={reprlib.repr(value)}, which StyleGAN2-ADA does not have; "
                "such a variant can't be imported"
            )
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            _check_arguments(value, where, depth + 1)


def _plain(value: object) -> object:
    """A value that can be compared: numbers, text and lists of numbers as they are, anything else "other"."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)) and all(type(v) in (int, float) for v in value):
        return list(value)
    return "other"


def _from_pickle(path: Path, where: str) -> tuple[OfficialNetwork, OfficialNetwork]:
    content = read_restricted_pickle(_read(path, where), where)
    if not isinstance(content, dict):
        raise InputError(f"{where}: holds a {type(content).__name__}, not a dict with G_ema and D")
    G = content.get("G_ema")
    if G is None:
        G = content.get("G")
    D = content.get("D")
    held = reprlib.repr(sorted(key for key in content if isinstance(key, str)))
    networks = []
    for name, record in (("G_ema", G), ("D", D)):
        if not isinstance(record, ModuleRecord):
            raise InputError(f"{where}: has no network {name!r} (it holds {held}); pass a training snapshot")
        kwargs = record.state.get("_init_kwargs")
        tensors: dict[str, Tensor] = {}
        _collect(record, "", tensors, [MAX_MODULES], where)
        networks.append(OfficialNetwork(tensors, kwargs if isinstance(kwargs, dict) else {}, record.source))
    return networks[0], networks[1]


def _read(path: Path, where: str) -> bytes:
    try:
        with path.open("rb") as file:
            # the size first: a bounded read sets the whole bound's memory aside
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, MAX_FILE_BYTES) + 1)
    except FileNotFoundError as error:
        raise InputError(f"{where}: no such file; pass a StyleGAN2-ADA .pkl or a .safetensors") from error
    except OSError as error:
        raise InputError(f"{where}: can't be read ({error})") from error
    return data


def _collect(record: ModuleRecord, prefix: str, out: dict[str, Tensor], left: list[int], where: str) -> None:
    """Parameters and buffers of a recorded module and those inside it, named as in its state dict."""
    left[0] -= 1
    if left[0] < 0 or prefix.count(".") > MAX_DEPTH:
        raise InputError(f"{where}: its modules are nested without end")
    for kind in ("_parameters", "_buffers"):
        members = record.state.get(kind)
        if not isinstance(members, dict):
            raise InputError(
                f"{where}: the module {prefix or 'at the top'!r} has no {kind}; get the file again"
            )
        for name, value in members.items():
            if isinstance(value, Tensor):
                out[f"{prefix}{name}"] = value
    modules = record.state.get("_modules")
    for name, module in modules.items() if isinstance(modules, dict) else ():
        if isinstance(module, ModuleRecord):
            _collect(module, f"{prefix}{name}.", out, left, where)


def _from_safetensors(path: Path, where: str) -> tuple[OfficialNetwork, OfficialNetwork]:
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"{where}: no such file; pass a StyleGAN2-ADA .pkl or a .safetensors") from error
    except (OSError, SafetensorError) as error:
        raise InputError(f"{where}: can't be read ({error}); get the file again") from error
    return _from_mapping(tensors, where)


def _from_mapping(state: Mapping[str, Any], where: str) -> tuple[OfficialNetwork, OfficialNetwork]:
    """Tensors by prefixed name, or a state dict for each of G (G_ema) and D."""
    flat: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            flat[key] = value
    networks = []
    for prefixes in (("G_ema.", "G."), ("D.",)):
        prefix = next((p for p in prefixes if any(str(key).startswith(p) for key in flat)), None)
        if prefix is None:
            raise InputError(
                f"{where}: no name starts with {prefixes[-1]!r}; pass the tensors of both G and D"
            )
        tensors = {key[len(prefix) :]: value for key, value in flat.items() if str(key).startswith(prefix)}
        for name, value in tensors.items():
            if not isinstance(value, Tensor):
                raise InputError(f"{where}: {prefix + name!r} is a {type(value).__name__}, not a tensor")
        networks.append(OfficialNetwork(tensors))
    return networks[0], networks[1]


__all__ = ["load_stylegan2_ada"]
