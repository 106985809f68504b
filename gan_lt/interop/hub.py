"""Networks on the Hugging Face Hub, through huggingface_hub's documented functions; imported only when needed.

`ModelHubMixin` would have to be a base class of the networks, so every use of gan_lt would need huggingface_hub. Its ideas are
kept: `from_pretrained("user/name")`, `push_to_hub("user/name")`, the same keyword arguments.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan_lt.errors import InputError
from gan_lt.version import __version__

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_LIBRARY = {"library_name": "gan_lt", "library_version": __version__}


def is_repository_name(text: str) -> bool:
    """Whether `text` has the form "user/name" of a repository on the Hub.

    >>> is_repository_name("ada/digits-lt"), is_repository_name("runs/demo/network"), is_repository_name("./digits")
    (True, False, False)
    """
    return _REPOSITORY.fullmatch(text) is not None and ".." not in text and "--" not in text


def download_network(
    repository: str,
    files: tuple[str, ...],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder in the local cache with `files` of one commit of a repository; downloads what is not there yet.

    Args:
        repository: "user/name".
        revision: branch, tag or commit; None: the main branch.
        token: access token; None: the one that `hf auth login` or HF_TOKEN gives; False: none.
        cache_dir: None: the Hub's own cache.
        local_files_only: never ask the network.

    The server is https://huggingface.co, or HF_ENDPOINT.

    Raises:
        InputError: huggingface_hub is not installed; no such repository, revision or file; no access; no connection.
    """
    hub = _require_hub(repository)
    with _spoken(f"{repository}: can't be loaded from the Hugging Face Hub"):
        folder = hub.snapshot_download(
            repository,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=list(files),
            endpoint=_endpoint(),
            **_LIBRARY,
        )
    for name in files:
        if not (Path(folder) / name).is_file():
            raise InputError(
                f"{repository}: has no {name} on the Hugging Face Hub, so it is no network of gan_lt; check the name"
            )
    return Path(folder)


def upload_network(
    folder: Path,
    repository: str,
    *,
    files: Sequence[str] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    private: bool | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload the files of `folder` in one commit; returns the commit's address.

    Args:
        repository: "user/name", made where there is none. files: only these; None: all.
        revision: branch, made where there is none; None: the main branch.
        token: as in `download_network`. private: of a new repository; None: the account's default.

    Raises:
        InputError: huggingface_hub is not installed, another name than "user/name", no access, no connection.
    """
    if not is_repository_name(repository):
        raise InputError(f"push_to_hub: {repository!r} must be of the form user/name")
    hub = _require_hub(repository)
    api = hub.HfApi(endpoint=_endpoint(), token=token, **_LIBRARY)
    with _spoken(f"{repository}: can't be uploaded to the Hugging Face Hub"):
        api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=None if files is None else list(files),
            revision=revision,
            commit_message=commit_message or "Upload network with gan_lt",
        )
    return str(commit.commit_url)


def _endpoint() -> str | None:
    # huggingface_hub reads the variable once, when it is imported
    return os.environ.get("HF_ENDPOINT") or None


def _require_hub(repository: str) -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise InputError(
            f"{repository}: no such folder here; for a network on the Hugging Face Hub: pip install gan-lt[hub]"
        ) from error


@contextmanager
def _spoken(what: str) -> Iterator[None]:
    """Errors of the Hub as one line that says what to do."""
    from huggingface_hub import errors

    # HfHubHTTPError's first base is that of every error of the HTTP library in use (httpx, httpx2 since 2.0)
    no_connection: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(f"{what}: access to it must be asked for on its page first") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{what}: no such repository, or a private one (no such folder here either); check the name, or pass a token"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{what}: no such revision; pass a branch, a tag or a commit of it") from error
    except (no_connection, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{what} ({reason}); check the name, the connection and the token, or pass a folder"
        ) from error


__all__ = ["download_network", "is_repository_name", "upload_network"]
