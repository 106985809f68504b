"""Weights files: where they are looked for, how they are fetched, and what to say when they can't be."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from gan_lt.errors import InputError

CACHE = Path(os.path.expanduser("~/.cache")) / "gan_lt"


@dataclass(frozen=True)
class WeightsFile:
    """A file of published weights.

    features: the extractor's name; variable: environment variable that may hold a path; elsewhere: other
    places where tools keep the same file; sha256: of the file, where its publisher states one.
    """

    features: str
    name: str
    url: str
    megabytes: int
    variable: str
    elsewhere: tuple[Path, ...] = ()
    sha256: str | None = None


def find_weights(file: WeightsFile, given: Path | None = None) -> Path:
    """Path of the file: as given, as the environment says, where it is kept, or downloaded to
    ~/.cache/gan_lt.

    Raises InputError that says where to get it when it is nowhere and can't be downloaded.
    """
    named = given or (Path(os.environ[file.variable]) if os.environ.get(file.variable) else None)
    if named is not None:
        if not named.is_file():
            raise InputError(f"the weights {named} don't exist; download them from {file.url}")
        return named
    own = CACHE / file.name
    for place in (own, *file.elsewhere):
        if place.is_file():
            return place
    return _download(file, own)


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(file: WeightsFile, target: Path) -> Path:
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if target.parts[0] == "~":  # a user whom the system does not know, as in containers
            raise OSError("there is no home folder to put it in")
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(file.url, timeout=30) as answer, partial.open("wb") as out:  # noqa: S310
            while piece := answer.read(1 << 20):
                out.write(piece)
            expected = answer.headers.get("Content-Length")
            if expected is not None and out.tell() != int(expected):
                # urllib takes a connection that ends early for the end of the file
                raise OSError(f"the connection ended after {out.tell()} of {expected} bytes")
        if file.sha256 is not None and hash_file(partial) != file.sha256:
            raise InputError(
                f"what {file.url} sent is not the published file (sha256 differs); try again later"
            )
        os.replace(partial, target)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"features {file.features!r} needs {file.name} ({file.megabytes} MB), which can't be "
            f"downloaded ({reason}); "
            f"fetch {file.url} elsewhere and give it with --weights FILE or put it at {target}, or use "
            "--features classifier"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    return target
