"""What the JSON of an evaluation must hold to be read again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Strict, ValidationError

from gan_lt.errors import InputError

# a text that looks like a number is none
Number = Annotated[float, Strict()]
Intervals = dict[str, tuple[Number, Number]]


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number | None]
    name: str
    group: str | None = None
    n_train: Annotated[int, Strict()] | None = None
    intervals: Intervals


class _Features(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    weights_hash: str | None


class _Settings(BaseModel):
    model_config = ConfigDict(extra="allow")
    real: str
    fake: str


class _Document(BaseModel):
    metrics: dict[str, Number | None]
    intervals: Intervals
    per_class: list[_Row]
    groups: dict[str, dict[str, Any]]
    features: _Features
    settings: _Settings
    warnings: list[str]
    memorization: dict[str, Any] | None = None
    utility: dict[str, Any] | None = None


def require_evaluation(document: Any, where: str) -> None:
    """Raises InputError, naming the first place, for what no evaluation has written."""
    try:
        _Document.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].lower().split(" or instance of")[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise InputError(
            f"{where} is not an evaluation: {place}: {reason}; give the JSON of an evaluation"
        ) from None
