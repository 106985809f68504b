"""Networks on disk: config.json and model.safetensors, never a pickle."""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Self, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gan_lt.errors import InputError
from gan_lt.file_modes import make_ordinary
from gan_lt.models.shapes_only import ShapesOnly

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


class Pretrained:
    """save_pretrained / from_pretrained for a module whose `config` holds its constructor's arguments."""

    config: dict[str, Any]

    def card(self) -> str | None:
        """Text of the README.md that goes with the network to the Hub, None for none."""
        return None

    def save_pretrained(self, directory: str | os.PathLike[str], card: str | None = None) -> None:
        """Write config.json and model.safetensors into `directory`, each complete or not at all.

        card: text of a README.md to write as well, as `render_card` makes it; one that someone has changed stays as it is.
        """
        path = Path(directory)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{path} can't be made ({error.strerror}); name a folder") from error
        module = cast(nn.Module, self)
        tensors = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
        temporary = path / f".{WEIGHTS_NAME}.{os.getpid()}"
        save_file(tensors, temporary, metadata={"format": "pt"})
        make_ordinary(temporary)  # safetensors makes it private
        os.replace(temporary, path / WEIGHTS_NAME)
        temporary = path / f".{CONFIG_NAME}.{os.getpid()}"
        temporary.write_text(json.dumps({"class": type(self).__name__, **self.config}, indent=2) + "\n")
        os.replace(temporary, path / CONFIG_NAME)
        if card is not None:
            write_card(path, card)

    @classmethod
    def saved_forms(cls) -> dict[str, type[Any]]:
        """The classes whose folders `from_pretrained` reads, by name."""
        return {cls.__name__: cls}

    def push_to_hub(
        self,
        repository: str,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str | None = None,
        card: str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, with a model card, to the Hugging Face Hub in one commit.

        Args:
            repository: "user/name", made where there is none. revision: branch, made where there is none.
            token: access token; None: the one that `hf auth login` or HF_TOKEN gives.
            private: of a new repository; None: the account's default.
            card: text of README.md; None: `self.card()`, which knows nothing of the run (`gan-lt push RUN` does).

        Returns:
            The commit's address.

        Raises:
            InputError: huggingface_hub is not installed, another name than "user/name", no access, no connection.
        """
        from gan_lt.interop.hub import upload_network

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, self.card() if card is None else card)
            return upload_network(
                Path(folder),
                repository,
                revision=revision,
                token=token,
                private=private,
                commit_message=commit_message,
            )

    @classmethod
    def from_pretrained(
        cls,
        directory: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Build the network that `save_pretrained` wrote, in evaluation mode, on the CPU.

        Args:
            directory: a folder, or "user/name" on the Hugging Face Hub where no such folder exists.
            revision, token, cache_dir, local_files_only: for the Hub, see `gan_lt.interop.hub.download_network`.

        Raises:
            InputError: no such folder or repository, a file missing, damaged or of another network class.
        """
        if not isinstance(directory, str | os.PathLike):
            raise InputError(
                f"directory={directory!r} must be a folder or the name of a repository, user/name"
            )
        path = Path(directory)
        if not path.exists():
            from gan_lt.interop.hub import download_network, is_repository_name

            if is_repository_name(str(directory)):
                path = download_network(
                    str(directory),
                    (CONFIG_NAME, WEIGHTS_NAME),
                    revision=revision,
                    token=token,
                    cache_dir=cache_dir,
                    local_files_only=local_files_only,
                )
        config = read_config(path)
        name = config.pop("class", None)
        form = cls.saved_forms().get(str(name))
        if form is None:
            raise InputError(
                f"{path / CONFIG_NAME}: holds a {name!r}, not a {cls.__name__}; pass the folder of a {cls.__name__}"
            )
        known = set(inspect.signature(form).parameters)
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
                expected = cast(nn.Module, form(**config)).state_dict()
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
        network = form(**config)
        module = cast(nn.Module, network)
        module.load_state_dict(state)
        module.eval()
        return cast(Self, network)


def write_card(directory: Path, text: str) -> bool:
    """Write README.md into a saved network's folder; False where one stands that someone has taken over."""
    from gan_lt.interop.model_card import CARD_NAME, MARKER

    file = directory / CARD_NAME
    if file.exists() and MARKER not in file.read_text(encoding="utf-8", errors="replace"):
        return False
    temporary = directory / f".{CARD_NAME}.{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)
    return True


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
        remedy = "a folder that save_pretrained wrote"
        if (path / "network" / CONFIG_NAME).is_file():
            remedy = f"{path / 'network'}, which this run saved"
        raise InputError(
            f"{path}: no {CONFIG_NAME} there, so this is not a saved network; pass {remedy}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: can't be read ({error}); save the network again") from error
    if not isinstance(config, dict):
        raise InputError(f"{file}: holds a {type(config).__name__}, not an object; save the network again")
    return config
