"""Networks on disk: config.json and model.safetensors, never a pickle."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any, Self, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gan_lt.errors import InputError
from gan_lt.models.shapes_only import ShapesOnly

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


class Pretrained:
    """save_pretrained / from_pretrained for a module whose `config` holds its constructor's arguments."""

    config: dict[str, Any]

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors into `directory`, each complete or not at all."""
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        module = cast(nn.Module, self)
        tensors = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
        temporary = path / f".{WEIGHTS_NAME}.{os.getpid()}"
        save_file(tensors, temporary, metadata={"format": "pt"})
        os.replace(temporary, path / WEIGHTS_NAME)
        temporary = path / f".{CONFIG_NAME}.{os.getpid()}"
        temporary.write_text(json.dumps({"class": type(self).__name__, **self.config}, indent=2) + "\n")
        os.replace(temporary, path / CONFIG_NAME)

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike[str]) -> Self:
        """Build the network that `save_pretrained` wrote, in evaluation mode, on the CPU.

        Raises:
            InputError: no such folder, a file missing, damaged or of another network class.
        """
        path = Path(directory)
        config = read_config(path)
        name = config.pop("class", None)
        if name != cls.__name__:
            raise InputError(
                f"{path / CONFIG_NAME}: holds a {name!r}, not a {cls.__name__}; pass the folder of a {cls.__name__}"
            )
        known = set(inspect.signature(cls).parameters)
        unknown = sorted(set(config) - known)
        if unknown:
            raise InputError(
                f"{path / CONFIG_NAME}: unknown setting {unknown[0]!r}; it was written by another version of gan_lt"
            )
        weights = path / WEIGHTS_NAME
        try:
            state = load_file(weights)
        except (OSError, SafetensorError, MemoryError) as error:
            raise InputError(f"{weights}: can't be read ({error}); save the network again") from error
        _require_possible(config, state, path)
        try:
            # without memory first: what config.json asks for is checked before anything is set aside for it
            with ShapesOnly():
                expected = cast(nn.Module, cls(**config)).state_dict()
        except (TypeError, ValueError, RuntimeError, OverflowError, AttributeError) as error:
            raise InputError(
                f"{path / CONFIG_NAME}: such a network can't be built ({error}); save the network again"
            ) from error
        for key in sorted(set(expected) ^ set(state)):
            where = "lacks" if key in expected else "has the unknown"
            raise InputError(f"{weights}: {where} tensor {key!r}; it does not belong to {path / CONFIG_NAME}")
        for key, tensor in expected.items():
            if state[key].shape != tensor.shape:
                raise InputError(
                    f"{weights}: {key!r} has shape {list(state[key].shape)}, but {CONFIG_NAME} asks for {list(tensor.shape)}"
                )
        network = cls(**config)
        module = cast(nn.Module, network)
        module.load_state_dict(state)
        module.eval()
        return network


def _require_possible(config: dict[str, Any], state: dict[str, Tensor], path: Path) -> None:
    """InputError for a number of classes or layers that these weights are too few for."""
    limits = {"num_classes": max((max(t.shape, default=1) for t in state.values()), default=0)}
    limits["mapping_layers"] = len(state)
    for name, limit in limits.items():
        value = config.get(name, 0)
        if isinstance(value, int | float) and value > limit:
            raise InputError(
                f"{path / CONFIG_NAME}: {name}={value} does not belong to {path / WEIGHTS_NAME}; save the network again"
            )


def read_config(path: Path) -> dict[str, Any]:
    """The content of a saved network's config.json; InputError when it is missing or not a JSON object."""
    file = path / CONFIG_NAME
    try:
        config = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no {CONFIG_NAME} there, so this is not a saved network; pass a folder that save_pretrained wrote"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: can't be read ({error}); save the network again") from error
    if not isinstance(config, dict):
        raise InputError(f"{file}: holds a {type(config).__name__}, not an object; save the network again")
    return config
