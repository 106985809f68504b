"""Images on disk labelled by a list: lines "path label" as of ImageNet-LT, or COCO annotations as of iNaturalist."""

from __future__ import annotations

import json
import os
import posixpath
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from gan_lt.data.folder import FolderFiles
from gan_lt.data.image_set import DRIVE, require_class_names
from gan_lt.data.labelling import LabelledNames, in_class_order, is_image_name, is_legible
from gan_lt.errors import InputError

_SUFFIXES = (".txt", ".json")
_MAX_LABEL, _MAX_NAME = 2**31, 1024


def is_list(path: Path) -> bool:
    """Whether the file's name is that of a list."""
    return path.suffix.lower() in _SUFFIXES


def label_list(
    path: Path, root: Path, shown: str, root_option: str = "--data-root"
) -> tuple[FolderFiles, LabelledNames]:
    """The images below ``root`` that a list names, labelled by it.

    ``NAME.txt`` has lines ``path label``; classes are called by their numbers. ``NAME.json`` has COCO's ``images``,
    ``annotations`` and ``categories``; classes are called as the categories, or by the categories' numbers where names
    are missing, equal or no names of a folder. Numbers without an image are passed over.

    root_option: how messages call the setting that ``root`` came from.

    Folders are listed once each to see whether the images are there.

    Raises:
        InputError: a line, path or label that is none; a path that leads out of ``root``, is there twice or
            is no image's; an image that is not there.
    """
    if not root.is_dir():
        raise InputError(
            f"{root_option} {root} is not a folder: give the one that the paths in {path} start from"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{shown} can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown} is not UTF-8 text ({error.reason} at byte {error.start}): save it as such"
        ) from error
    if path.suffix.lower() == ".json":
        label_of, class_of = _annotations(text, shown)
    else:
        label_of, class_of = _lines(text, shown), {}
    if not label_of:
        raise InputError(f"{shown} lists no images: it needs lines `path label`, or COCO annotations")
    _require_there(label_of, root, shown, root_option)
    names = in_class_order(label_of)
    present, labels = np.unique([label_of[name] for name in names], return_inverse=True)
    class_names = tuple(class_of.get(label, str(label)) for label in present.tolist())
    require_class_names(class_names, shown)
    labelled = LabelledNames(class_names, tuple(names), labels.astype(np.int64))
    return FolderFiles(root, labelled.names, shown), labelled


def _lines(text: str, shown: str) -> dict[str, int]:
    label_of: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        parts = line.rsplit(None, 1)
        if not parts:
            continue
        if len(parts) < 2 or not (parts[1].isascii() and parts[1].isdigit()) or len(parts[1]) > 10:
            raise InputError(
                f"{shown}: line {number}, {line.strip()!r:.100}, is not a path and a class index (0, 1, ...)"
            )
        _add(label_of, parts[0].lstrip(" \t"), int(parts[1]), f"{shown}: line {number}")
    return label_of


def _annotations(text: str, shown: str) -> tuple[dict[str, int], dict[int, str]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown} is not JSON ({error}): download or write it again") from error
    images = _entries(document, "images", ("id", "file_name"), shown)
    annotations = _entries(document, "annotations", ("image_id", "category_id"), shown)
    file_of: dict[Any, str] = {}
    for image in images:
        if not isinstance(image["id"], int | str) or not isinstance(image["file_name"], str):
            raise InputError(
                f"{shown}: image {image!r:.100} has no id and file_name that can be read: correct it"
            )
        if file_of.setdefault(image["id"], image["file_name"]) != image["file_name"]:
            raise InputError(
                f"{shown}: two images have the id {image['id']!r:.40}, the second is {image!r:.100}: correct it"
            )
    label_of: dict[str, int] = {}
    for annotation in annotations:
        image_id, label = annotation["image_id"], annotation["category_id"]
        if not isinstance(image_id, int | str) or image_id not in file_of:
            raise InputError(
                f"{shown}: annotation {annotation!r:.100} is of an image that is not in its images"
            )
        if isinstance(label, bool) or not isinstance(label, int):
            raise InputError(
                f"{shown}: category_id {label!r:.40} of {file_of[image_id]} is not a class index (0, 1, ...)"
            )
        _add(label_of, file_of[image_id], label, shown)
    return label_of, _category_names(document, shown)


def _entries(document: object, key: str, fields: tuple[str, str], shown: str) -> list[dict[str, Any]]:
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise InputError(f'{shown} has no list "{key}": it needs COCO\'s "images" and "annotations"')
    for entry in entries:
        if not isinstance(entry, dict) or any(field not in entry for field in fields):
            raise InputError(f'{shown}: {entry!r:.100} in "{key}" needs {" and ".join(fields)}')
    return entries


def _category_names(document: dict[str, Any], shown: str) -> dict[int, str]:
    """Names by category, or none of them: sets that share categories are then called alike."""
    categories = document.get("categories")
    found: dict[int, str] = {}
    for category in categories if isinstance(categories, list) else []:
        if not isinstance(category, dict) or not isinstance(category.get("id"), int):
            return {}
        found[category["id"]] = category.get("name", "")
    try:
        require_class_names(tuple(found.values()), shown)
    except InputError:
        return {}
    return found


def _add(label_of: dict[str, int], path: str, label: int, where: str) -> None:
    if len(path) > _MAX_NAME or not is_legible(path):
        raise InputError(
            f"{where}: {path!r:.100} is longer than {_MAX_NAME} letters or has some that can't be printed: correct it"
        )
    slashed = path.replace("\\", "/")
    name = posixpath.normpath(slashed)  # one image has one name, however it is written
    if name.startswith("/") or DRIVE.match(name) or ".." in slashed.split("/"):
        raise InputError(
            f"{where}: {path!r:.200} leads out of the folder of images: write paths relative to it"
        )
    if not is_image_name(name):
        raise InputError(f"{where}: {path!r:.200} is not called as an image (.png, .jpg, .webp ...)")
    if not 0 <= label < _MAX_LABEL:
        raise InputError(f"{where}: label {label} of {path!r:.200} is not a class index (0, 1, ...)")
    if name in label_of:
        raise InputError(f"{where}: {path!r:.200} is listed twice: keep one label")
    label_of[name] = label


def _require_there(names: dict[str, int], root: Path, shown: str, root_option: str) -> None:
    """A look into each folder, not at each file: a hundred thousand of them take minutes on a network's disk."""
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, _, last = name.rpartition("/")
        by_folder[folder].append(last)
    missing = 0
    first = ""
    for folder, wanted in by_folder.items():
        try:
            there = set(os.listdir(root / folder))
        except (FileNotFoundError, NotADirectoryError):
            there = set()
        except OSError as error:
            raise InputError(f"{shown}: {error.filename} can't be read ({error.strerror})") from error
        absent = [last for last in wanted if last not in there]
        if absent and not missing:
            first = f"{folder}/{absent[0]}" if folder else absent[0]
        missing += len(absent)
    if missing:
        raise InputError(
            f"{shown}: {missing:,} of its {len(names):,} images are not below {root}, the first is {first}: add them, or "
            f"pass {root_option} with the folder that the paths start from"
        )
