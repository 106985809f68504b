"""The samples of a shard: which files belong together, which of them is the image, and which label it has."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from gan_lt.class_names import composed
from gan_lt.data.decoding import IMAGE_SUFFIXES
from gan_lt.data.tar_members import Member, TarMembers
from gan_lt.errors import InputError

_EXTENSIONS = frozenset(suffix[1:] for suffix in IMAGE_SUFFIXES)
_MAX_CLS, _MAX_JSON, _MAX_IMAGE = 64, 2**20, 2**30  # bytes
_MAX_LABEL = 2**31


@dataclass
class Samples:
    """N images of shards: beside its name SHARD/ENTRY an image takes 28 bytes. A label of -1 stands for none.

    class_names: by label, where ``.json`` files tell them.
    """

    names: list[str] = field(default_factory=list)
    shards: array[int] = field(default_factory=lambda: array("i"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    labels: array[int] = field(default_factory=lambda: array("q"))
    class_names: dict[int, str] = field(default_factory=dict)


def read_samples(path: Path, number: int, name: str, shown: str, samples: Samples) -> None:
    """Add the images of one shard, the ``number``-th, called ``name``.

    Files with the same name up to the first dot of its last part are a sample, as in WebDataset. The label is the
    integer in ``.cls``, or ``"label"`` in ``.json``. Hidden files and what is neither image nor label are passed over.

    Raises:
        InputError: what TarMembers raises; a label that is none; a labelled sample with no image or several, or
            twice there.
    """
    where = f"{shown}: shard {name}"
    try:
        with open(path, "rb", buffering=0) as file:
            _Shard(TarMembers(file, where), number, name, where, samples).read()
    except OSError as error:
        raise InputError(f"{where} can't be read ({error.strerror or error})") from error


class _Shard:
    def __init__(self, members: TarMembers, number: int, name: str, where: str, samples: Samples) -> None:
        self.members, self.number, self.name, self.where = members, number, name, where
        self.samples = samples
        self.hashes = array("q")  # of the names, each of which takes ten times that

    def read(self) -> None:
        for key, group in groupby(self._visible(), key=lambda member: _split(member.name)[0]):
            self._add(key, group)
        hashes = np.frombuffer(self.hashes, dtype=np.int64)
        hashes.sort()
        again = hashes[1:][hashes[1:] == hashes[:-1]]
        if again.size:
            self._require_once(set(again.tolist()))

    def _visible(self) -> Iterator[Member]:
        for member in self.members:
            if not _is_hidden(member.name):
                self.hashes.append(hash(member.name))
                yield member

    def _require_once(self, hashes: set[int]) -> None:
        """Look again at the names with these hashes, which several names may share."""
        seen: set[str] = set()
        for member in self.members:
            if hash(member.name) not in hashes or _is_hidden(member.name):
                continue
            if member.name in seen:
                raise InputError(
                    f"{self.where}: entry {member.name!r:.200} is there twice: make it again with one"
                )
            seen.add(member.name)

    def _add(self, key: str, group: Iterable[Member]) -> None:
        images: list[tuple[str, Member]] = []
        others: list[str] = []
        label: int | None = None
        facts: Member | None = None
        for member in group:
            extension = _split(member.name)[1]
            if extension.rpartition(".")[2] in _EXTENSIONS:
                images.append((extension, member))
                continue
            others.append(extension)
            if extension == "cls":
                label = self._class_index(member)  # now, since it is in memory with its header
            elif extension == "json":
                facts = member
        if label is None and facts is not None:
            label = self._label_in_json(facts)
        if label is None:
            for _, member in images:
                self._append(member, -1)
            return
        # the image itself before what is made of it, KEY.seg.png
        plain = [member for extension, member in images if "." not in extension]
        chosen = plain or [member for _, member in images]
        if len(chosen) != 1:
            found = ", ".join(member.name for member in chosen[:3]) or ", ".join(f".{o}" for o in others[:5])
            raise InputError(
                f"{self.where}: sample {key!r:.200} has a label and {len(chosen)} images that can be read "
                f"(found: {found:.200}): the files of a sample lie side by side, one of them an image (.png, .jpg, .webp ...)"
            )
        self._append(chosen[0], label)

    def _append(self, member: Member, label: int) -> None:
        if member.size > _MAX_IMAGE:
            raise InputError(
                f"{self.where}: entry {member.name!r:.200} has {member.size} bytes, more than the {_MAX_IMAGE} that an "
                "image may have: not an honest image, remove it"
            )
        self.samples.names.append(f"{self.name}/{member.name}")
        self.samples.shards.append(self.number)
        self.samples.offsets.append(member.offset)
        self.samples.sizes.append(member.size)
        self.samples.labels.append(label)

    def _class_index(self, member: Member) -> int:
        text = self.members.text(member, _MAX_CLS).strip()
        if not text.isdigit() or int(text) >= _MAX_LABEL:
            raise InputError(
                f"{self.where}: {text!r:.40} in {member.name} is not a class index (0, 1, ...): correct it"
            )
        return int(text)

    def _label_in_json(self, member: Member) -> int | None:
        try:
            document = json.loads(self.members.text(member, _MAX_JSON))
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self.where}: {member.name} is not JSON ({error}): write it again") from error
        label = document.get("label") if isinstance(document, dict) else None
        if label is None:
            return None
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < _MAX_LABEL:
            raise InputError(
                f"{self.where}: label {label!r:.40} in {member.name} is not a class index (0, 1, ...): correct it"
            )
        name = document.get("class_name")
        if isinstance(name, str) and self.samples.class_names.setdefault(label, composed(name)) != composed(
            name
        ):
            raise InputError(
                f"{self.where}: {member.name} calls class {label} {name!r:.80}, samples before it "
                f"{self.samples.class_names[label]!r:.80}: keep one name"
            )
        return label


def _split(name: str) -> tuple[str, str]:
    """Key and extension, in small letters, of an entry: split at the first dot after the last slash."""
    folder, slash, last = name.rpartition("/")
    stem, _, extension = last.partition(".")
    return folder + slash + stem, extension.lower()


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX/")) or "/." in name or "/__MACOSX/" in name
