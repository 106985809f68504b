"""Checkpoints: the whole training state in one safetensors file, written atomically, with a checksum.

Tensors are stored as tensors; everything else (numbers, texts, lists) as JSON in the file's header. Nothing is
pickled, so loading a checkpoint can run no code.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan_lt.errors import InputError
from gan_lt.file_modes import make_ordinary

_NAME = re.compile(r"^kimg-(\d+)\.safetensors$")
_TENSOR = "__tensor__"
_IMAGES_SEEN = "images_seen"


class DamagedCheckpointError(InputError):
    """A checkpoint that is torn, altered or not a checkpoint."""


def save_checkpoint(directory: Path, state: Mapping[str, Any], images_seen: int, keep: int) -> Path:
    """Write `state` (nested dictionaries and lists of tensors, numbers, texts) and drop all but the last `keep`.

    The file appears under its name only when it is complete and on the disk.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    tree = _flatten(state, "", tensors)
    text = json.dumps(tree)
    metadata = {
        "state": text,
        "state_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "sha256": _digest(tensors),
        _IMAGES_SEEN: str(images_seen),
    }
    path = directory / f"kimg-{images_seen // 1000:06d}.safetensors"
    temporary = directory / f".{path.name}.{os.getpid()}"
    try:
        save_file(tensors, temporary, metadata=metadata)
        make_ordinary(temporary)  # safetensors makes it private
        _sync(temporary)
        os.replace(temporary, path)
        _sync(directory)  # the name, too, must outlive a power loss before older checkpoints go
    finally:
        temporary.unlink(missing_ok=True)
    drop_older(path, keep)
    return path


def drop_older(newest: Path, keep: int) -> None:
    """Drop all but the last `keep` checkpoints up to `newest`; later ones, which can only be damaged, don't count."""
    found = list_checkpoints(newest.parent)
    for old in found[: found.index(newest) + 1][:-keep]:
        old.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    if not directory.is_dir():
        return []
    found = [(int(match[1]), path) for path in directory.iterdir() if (match := _NAME.match(path.name))]
    return [path for _, path in sorted(found)]


def images_trained(directory: Path) -> int:
    """Real images that the newest checkpoint whose header can be read has seen; 0 without one. No tensor is read."""
    for path in reversed(list_checkpoints(directory)):
        try:
            with safe_open(path, "pt") as file:
                return int((file.metadata() or {})[_IMAGES_SEEN])
        except (OSError, SafetensorError, KeyError, ValueError):
            continue  # damaged: training resumes from the one before it, too
    return 0


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` was given.

    Raises:
        DamagedCheckpointError: the file is torn, altered or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        tree = json.loads(metadata["state"])
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise DamagedCheckpointError(f"{path}: is not a complete checkpoint ({error})") from error
    text_digest = hashlib.sha256(metadata["state"].encode()).hexdigest()
    if _digest(tensors) != metadata.get("sha256") or metadata.get("state_sha256", text_digest) != text_digest:
        raise DamagedCheckpointError(
            f"{path}: its checksum does not match, so the file was altered or damaged"
        )
    try:
        state = _restore(tree, tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DamagedCheckpointError(
            f"{path}: its description of the state is damaged ({error!r})"
        ) from error
    if not isinstance(state, dict):
        raise DamagedCheckpointError(f"{path}: holds no training state")
    return state


def _flatten(node: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        tensors[name] = node.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(node, Mapping):
        # JSON has text keys only; the optimizers' integer keys come back through the type kept beside them
        keys = [[key, _flatten(value, f"{name}/{key}", tensors)] for key, value in node.items()]
        return {"__mapping__": keys}
    if isinstance(node, list | tuple):
        return [_flatten(value, f"{name}/{index}", tensors) for index, value in enumerate(node)]
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"{name}: a checkpoint can't hold a {type(node).__name__}")


def _restore(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(node, dict):
        if _TENSOR in node:
            return tensors[node[_TENSOR]]
        return {key: _restore(value, tensors) for key, value in node["__mapping__"]}
    if isinstance(node, list):
        return [_restore(value, tensors) for value in node]
    return node


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
