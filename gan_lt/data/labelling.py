"""Which class each image of a folder or zip belongs to: from class folders, or from dataset.json."""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_lt.class_names import composed
from gan_lt.data.decoding import IMAGE_SUFFIXES
from gan_lt.data.image_set import require_class_names
from gan_lt.errors import InputError


@dataclass(frozen=True)
class LabelledNames:
    """Images by name with their labels ``[N]``, ordered by label, then by name as a person would sort it."""

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key under which "img2" comes before "img10"; ASCII digits are compared as numbers."""
    pieces = re.split(r"([0-9]+)", name)
    key = [
        _number_key(piece) if index % 2 else (1, 0, piece.casefold()) for index, piece in enumerate(pieces)
    ]
    return key, name


def class_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """`natural_key` of a class: the same whether its folder's name comes from a Mac or from elsewhere."""
    return natural_key(composed(name))


def _number_key(digits: str) -> tuple[int, int, str]:
    """In the order of the numbers, which Python refuses to make of more than 4300 digits."""
    significant = digits.lstrip("0")
    return 0, len(significant), significant


def is_image_name(name: str) -> bool:
    """Whether a relative path is a visible image file (not hidden, not macOS's resource forks)."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES


# They turn the letters behind them round, also those of a message that names the file.
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_legible(name: str) -> bool:
    """Whether a name can stand in one line of a message: no control characters, line ends or surrogates.

    Every blank is legible, and so is what joins letters or emoji: macOS writes U+202F into the names of screenshots.
    """
    if name.isprintable():
        return True
    categories = {unicodedata.category(letter) for letter in name}
    return categories.isdisjoint(("Cc", "Cs", "Zl", "Zp")) and _OVERRIDES.isdisjoint(name)


def folder_around(paths: list[str]) -> str:
    """The folders that all paths share, with a slash, or ""; every path keeps its file and the folder that it lies in."""
    around = ""
    rest = [path.split("/") for path in paths]
    while rest and len({parts[0] for parts in rest}) == 1 and all(len(parts) > 2 for parts in rest):
        around += f"{rest[0][0]}/"
        rest = [parts[1:] for parts in rest]
    return around


def folder_around_classes(names: Sequence[str], folders: Sequence[str], where: str) -> str:
    """The folder around all class folders, with its slash, or "".

    Images at the root, beside it, don't count: they lie in no class.

    Args:
        names: relative paths of images.
        folders: relative paths of folders, each with its slash; also such as hold no image.

    Raises:
        InputError: the only folder holds images and, beside them, two or more folders of images.
    """
    paths = (*names, *folders)
    around = ""
    while True:
        first = {path[len(around) : path.find("/", len(around)) + 1] for path in paths if "/" in path} - {""}
        inner = around + first.pop() if len(first) == 1 else ""
        if not inner or not any(path.find("/", len(inner)) >= 0 for path in paths):
            return around
        beside = [name for name in names if name.startswith(inner) and "/" not in name[len(inner) :]]
        if beside:
            _require_one_reading(inner, beside, names, where)
            return around
        around = inner


def _require_one_reading(folder: str, beside: list[str], names: Sequence[str], where: str) -> None:
    """Either reading of a folder that may be a class, or around classes, would lose classes or images in silence."""
    below = sorted({name.rpartition("/")[0] for name in names if "/" in name[len(folder) :]}, key=natural_key)
    if len(below) > 1:
        raise InputError(
            f"{where}: its only folder, {folder}, holds {len(beside)} images ({min(beside)}, ...) beside {len(below)} "
            f"folders of images ({below[0]}, {below[1]}, ...), so it may be a class or lie around the classes: move "
            f"these images out of {folder}, or all images of a class into its folder"
        )


def folder_of_description(names: Iterable[str], is_there: Callable[[str], bool]) -> str | None:
    """The folder, "" or with its slash, whose dataset.json labels the images; None without any.

    It is the root, or the only folder of it that holds images.
    """
    if is_there("dataset.json"):
        return ""
    roots = {name.partition("/")[0] for name in names if "/" in name}
    around = f"{roots.pop()}/" if len(roots) == 1 else ""
    return around if around and is_there(f"{around}dataset.json") else None


def labels_below(
    around: str, names: Iterable[str], label: Callable[[list[str]], LabelledNames]
) -> LabelledNames:
    """What ``label`` makes of the names in the folder ``around``, which it sees without that and returns with it."""
    labelled = label([name[len(around) :] for name in names if name.startswith(around)])
    return replace(labelled, names=tuple(around + name for name in labelled.names)) if around else labelled


def labels_from_folders(names: Iterable[str], folders: Iterable[str], where: str) -> LabelledNames:
    """Label images by their first folder; ``folders`` are class folders, also such as hold no image.

    Raises:
        InputError: a class folder without images (named), or no class folder at all.
    """
    by_class: dict[str, list[str]] = {folder: [] for folder in folders}
    for name in names:
        folder, slash, _ = name.partition("/")
        if slash:
            by_class.setdefault(folder, []).append(name)
    if not by_class:
        raise InputError(
            f"{where} holds no labelled images: it needs a sub-folder for every class, "
            "or a dataset.json with labels"
        )
    class_names = tuple(sorted(by_class, key=class_key))
    for class_name in class_names:
        if not by_class[class_name]:
            raise _empty_class(class_name, where)
    require_class_names(class_names, where)
    ordered = [sorted(by_class[class_name], key=natural_key) for class_name in class_names]
    return LabelledNames(
        class_names=class_names,
        names=tuple(name for group in ordered for name in group),
        labels=np.repeat(np.arange(len(ordered)), [len(group) for group in ordered]).astype(np.int64),
    )


def labels_from_json(text: bytes, names: Iterable[str], where: str) -> LabelledNames:
    """Label images by StyleGAN's dataset.json.

    ``{"labels": [["a.png", 0], ...]}`` or ``{"labels": {"a.png": 0, ...}}``, optionally with
    ``"class_names"``, a list with a name for every label. Without it, a class is called after the folder its
    images lie in, if every class has one folder of its own; otherwise "0", "1", ...

    Raises:
        InputError: not such a JSON; an image without label, a label without image, a label outside the
            classes, a class without images.
    """
    where_json = f"{where}: dataset.json"
    document = _parse_json(text, where_json)
    label_of = _label_pairs(document.get("labels"), where_json)
    _require_same_names(label_of, set(names), where)
    class_names = _listed_class_names(document.get("class_names"), where_json)
    num_classes = len(class_names) if class_names is not None else max(label_of.values()) + 1
    for name, label in label_of.items():
        if not 0 <= label < num_classes:
            allowed = f"the {num_classes} classes" if class_names is not None else "what labels may be"
            raise InputError(f"{where_json}: label {label} of {name} is outside {allowed}: correct it")
    if num_classes > len(label_of):
        raise InputError(
            f"{where_json}: {len(label_of)} images for {num_classes} classes: every class needs an image"
        )

    ordered = in_class_order(label_of)
    labels = np.array([label_of[name] for name in ordered], dtype=np.int64)
    if class_names is None:
        class_names = _folder_names(ordered, labels, num_classes)
    require_all_classes(class_names, labels, where)
    return LabelledNames(class_names, tuple(ordered), labels)


def in_class_order(label_of: dict[str, int]) -> list[str]:
    """The names ordered by label, then naturally."""
    by_class: dict[int, list[str]] = {}
    for name, label in label_of.items():
        by_class.setdefault(label, []).append(name)
    # class by class, since the keys of a name take ten times its memory
    return [name for label in sorted(by_class) for name in sorted(by_class[label], key=natural_key)]


def require_all_classes(class_names: Sequence[str], labels: NDArray[np.int64], where: str) -> None:
    """InputError naming the first class that no label stands for."""
    counts = np.bincount(labels, minlength=len(class_names))
    if not counts.all():
        raise _empty_class(class_names[int(counts.argmin())], where)


def _empty_class(class_name: str, where: str) -> InputError:
    return InputError(f"{where}: class {class_name!r} has no images: add some or remove the class")


def _parse_json(text: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}): write it again") from error
    if not isinstance(document, dict) or not document.get("labels"):
        raise InputError(f'{where} has no "labels": it needs {{"labels": [["image.png", 0], ...]}}')
    return document


def _label_pairs(labels: object, where: str) -> dict[str, int]:
    pairs: Iterable[object]
    if isinstance(labels, dict):
        pairs = labels.items()
    elif isinstance(labels, list):
        pairs = labels
    else:
        raise InputError(
            f'{where}: "labels" is a {type(labels).__name__}, must be a list of [image, label] pairs'
        )
    label_of: dict[str, int] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise InputError(f'{where}: {pair!r:.80} in "labels" is not an [image, label] pair')
        name, label = posixpath.normpath(pair[0].replace("\\", "/")), pair[1]
        if isinstance(label, bool) or not isinstance(label, int):
            raise InputError(f"{where}: label {label!r:.40} of {name} is not a class index (0, 1, ...)")
        if name in label_of:
            raise InputError(f"{where}: {name} is labelled twice: keep one label")
        label_of[name] = label
    return label_of


def _require_same_names(label_of: dict[str, int], names: set[str], where: str) -> None:
    unlabelled = sorted(names - label_of.keys(), key=natural_key)
    if unlabelled:
        raise InputError(
            f"{where}: {len(unlabelled)} images have no label in dataset.json, the first is {unlabelled[0]}: "
            "add their labels or remove them"
        )
    absent = [name for name in label_of if name not in names]
    if absent:
        raise InputError(
            f"{where}: dataset.json labels {len(absent)} images that are not there, "
            f"the first is {absent[0]}: add them or remove their labels"
        )


def _listed_class_names(listed: object, where: str) -> tuple[str, ...] | None:
    if listed is None:
        return None
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise InputError(f'{where}: "class_names" must be a list of texts, is {listed!r:.60}')
    class_names = tuple(listed)
    require_class_names(class_names, where)
    return class_names


def _folder_names(names: Sequence[str], labels: NDArray[np.int64], num_classes: int) -> tuple[str, ...]:
    folders: list[set[PurePosixPath]] = [set() for _ in range(num_classes)]
    for name, label in zip(names, labels, strict=True):
        folders[label].add(PurePosixPath(name).parent)
    last_parts = [next(iter(group)).name for group in folders if len(group) == 1]
    one_each = len(last_parts) == num_classes and len(set(last_parts)) == num_classes and all(last_parts)
    return tuple(last_parts) if one_each else tuple(str(label) for label in range(num_classes))
