"""A configuration from a preset, options and dotted overrides, and its problems in one line."""

from __future__ import annotations

import copy
import difflib
import reprlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from gan_lt.config.train_config import TrainConfig
from gan_lt.errors import InputError


def preset_names() -> list[str]:
    """The presets that ship, by name."""
    folder = resources.files("gan_lt") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def preset_values(name: str) -> dict[str, Any]:
    """What a preset sets, as nested dictionaries. `name` is one of `preset_names` or a path to a .yaml file.

    Raises:
        InputError: no such preset or file, or not YAML.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return {**read_yaml(path), "preset": path.stem}
    names = preset_names()
    if name not in names:
        raise InputError(
            f"--preset: {name!r} is not known{_suggestion(name, names)}; choose from {', '.join(names)} or a .yaml file"
        )
    text = (resources.files("gan_lt") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return {**yaml.safe_load(text), "preset": name}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; InputError otherwise."""
    try:
        values = _load_once(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except InputError:
        raise  # which is a ValueError, too
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        # ValueError: not UTF-8, or a date that there is not
        raise InputError(f"{path}: can't be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold sections such as 'training:', found {type(values).__name__}")
    return values


def _load_once(text: str, path: Path) -> Any:
    """What YAML makes of the text; InputError for a key that a mapping has twice, of which YAML keeps the last."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _require_single_keys(root, path)
        return loader.construct_document(root)
    finally:
        loader.dispose()  # type: ignore[no-untyped-call]


def _require_single_keys(root: yaml.Node, path: Path) -> None:
    """On the nodes as written: a mapping that takes another's keys over (`<<`) may say them again."""
    waiting, visited = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in visited:
            continue  # an alias may stand in many places, and for what it lies in
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        if not isinstance(node, yaml.MappingNode):
            continue
        marks: dict[tuple[str, str], yaml.Mark] = {}
        for key, value in node.value:
            waiting.extend((key, value))
            if not isinstance(key, yaml.ScalarNode):
                continue
            first = marks.setdefault((key.tag, key.value), key.start_mark)
            if first is not key.start_mark:
                raise InputError(
                    f"{path}: line {key.start_mark.line + 1}: {key.value!r} is set in line {first.line + 1} already; keep one"
                )


def build_config(preset: str, options: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainConfig:
    """A preset, with options given by dotted name, then `dotted.name=value` overrides (values in YAML).

    Raises:
        InputError: an unknown key (with the nearest known one) or an impossible value, by name.

    >>> build_config("digits-lt", {"training.seed": 3}, ["loss.r1_gamma=0.5"]).loss.r1_gamma
    0.5
    """
    values = preset_values(preset)
    try:
        return _build(copy.deepcopy(values), options, overrides)
    except InputError as error:
        if preset not in preset_names() and str(error) == _complaint(values):
            raise InputError(f"{preset}: {error}") from None  # the file's own, whatever the options say
        raise


def _complaint(values: Mapping[str, Any]) -> str | None:
    try:
        validate(values)
    except InputError as error:
        return str(error)
    return None


def _build(values: dict[str, Any], options: Mapping[str, Any], overrides: Sequence[str]) -> TrainConfig:
    for name, value in options.items():
        _set(values, name, value)
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{text!r} is not an override; write dotted.name=value, as in training.batch=64")
        try:
            parsed = yaml.safe_load(value)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise InputError(
                f"{name}={value}: the value is not YAML ({' '.join(str(error).split())})"
            ) from error
        if isinstance(parsed, str):
            parsed = _number(parsed)
        _set(values, name, parsed)
    return validate(values)


def validate(values: Mapping[str, Any], where: str = "") -> TrainConfig:
    """A checked configuration from nested dictionaries; InputError names the first wrong key and its value."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(where + _first_problem(error)) from None


def dump_yaml(config: TrainConfig) -> str:
    """The configuration as YAML that `read_yaml` and `validate` take back unchanged."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _number(text: str) -> str | float:
    """YAML 1.1 reads 1e-4 as text; people mean a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    keys = dotted.split(".")
    node = values
    for depth, key in enumerate(keys[:-1]):
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            raise InputError(f"{dotted}: {'.'.join(keys[: depth + 1])} is a value, not a section")
        node = child
    if isinstance(node.get(keys[-1]), dict) and not isinstance(value, dict):
        raise InputError(
            f"{dotted}={value}: {dotted} is a section; set one of its keys, as in {dotted}.{next(iter(node[keys[-1]]))}=..."
        )
    if keys[-1] in ("regularizers", "policy", "names", "transforms") and isinstance(value, str):
        value = [item for item in value.split(",") if item]
    node[keys[-1]] = value


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        siblings = _fields_at(problem["loc"][:-1])
        return f"{name}: unknown setting{_suggestion(str(problem['loc'][-1]), siblings)}; known here: {', '.join(siblings)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not name or (problem["type"] == "value_error" and isinstance(problem["input"], dict)):
        return message
    message = message[:1].lower() + message[1:]
    value = problem["input"]
    # a few lines of YAML can stand for more than fits in memory, when every list names the one before ten times
    shown = value if isinstance(value, str | int | float) else reprlib.repr(value)
    return f"{name}={shown}: {message}"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    model: type[BaseModel] = TrainConfig
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _suggestion(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
