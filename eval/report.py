"""What an evaluation found, as an object, as JSON, in the terminal and as a page."""

from __future__ import annotations

import json as json_module
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from eval.atomic_file import write_text
from eval.gallery import Gallery
from eval.report_format import require_evaluation
from gan_lt.errors import InputError

FORMAT = 1


@dataclass
class Report:
    """The result of `evaluate`.

    Attributes:
        metrics: name to value over the whole set ("fid", "kid", "precision", ...; "ifid" and "intra_*" are
            means over classes). None where a value is not defined (a warning says why).
        intervals: name to (low, high), 95 %, for those metrics that have one.
        per_class: one dict a class, in class order: name, group, n_train, n_real, n_fake, n_reference (images
            of the reference the class was compared with), the measures, and their `intervals`.
        groups: "many", "medium", "few" to the number of classes and the means of the measures over them;
            empty without training counts.
        features: name, dim, weights_hash and settings of the extractor; the name is "none" where no measure needed
            one.
        settings: everything else that decides the numbers, with versions.
        warnings: plain sentences that belong beside the numbers.
        utility: the classifier study, or None.
        gallery: images for the page; not in the JSON.
    """

    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    per_class: list[dict[str, Any]]
    groups: dict[str, dict[str, Any]]
    features: dict[str, Any]
    settings: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    memorization: dict[str, Any] | None = None
    utility: dict[str, Any] | None = None
    gallery: Gallery | None = None

    @property
    def distance_name(self) -> str:
        """What the Fréchet distance may be called: "FID" for Inception features alone."""
        return distance_name(str(self.features["name"]))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data; values that are not finite become null."""
        document = {
            "format": FORMAT,
            "metrics": self.metrics,
            "intervals": self.intervals,
            "per_class": self.per_class,
            "groups": self.groups,
            "features": self.features,
            "settings": self.settings,
            "warnings": self.warnings,
            "memorization": self.memorization,
            "utility": self.utility,
        }
        cleaned: dict[str, Any] = _plain(document)
        return cleaned

    def to_json(self, path: str | Path) -> None:
        """Write the JSON, atomically. Raises InputError if the file can't be written."""
        write_text(Path(path), json_module.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n")

    def to_html(self, path: str | Path) -> None:
        """Write the page, atomically: one file that needs nothing else. Raises InputError if it can't be
        written.
        """
        from eval.page import render_page

        write_text(Path(path), render_page(self))

    def print(self) -> None:
        """Print the tables to standard output, rarest class last."""
        from eval.terminal import print_report

        print_report(self)

    @classmethod
    def from_json(cls, path: str | Path) -> Report:
        """Read what `to_json` wrote (without images). Raises InputError for anything else."""
        try:
            document = json_module.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise InputError(
                f"{path} can't be read ({error.strerror}); give the JSON of an evaluation"
            ) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON ({error}); give the JSON of an evaluation") from None
        if isinstance(document, dict) and document.get("format", FORMAT) != FORMAT:
            raise InputError(f"{path} has format {document['format']!r}; this version reads {FORMAT}")
        require_evaluation(document, str(path))
        document["intervals"] = {name: tuple(pair) for name, pair in document["intervals"].items()}
        known = {each.name for each in fields(cls)} - {"gallery"}
        return cls(**{key: value for key, value in document.items() if key in known})


def distance_name(features: str) -> str:
    """What a Fréchet distance on these features may be called."""
    return "FID" if features == "inception" else f"FD ({features})"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
