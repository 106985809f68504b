"""What a person asks of selected images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gan_lt.classifier import Classifier
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.models import ImageDiscriminator
from gan_lt.sampling.judges import weights_digest

Score = Literal["classifier", "discriminator"]

MAX_TRIES = 100


@dataclass(frozen=True)
class Selection:
    """What a sampled image has to pass.

    keep_best: share of the accepted candidates that is kept, the best by `score`; 1 keeps all.
    score: "classifier" (probability of the class) or "discriminator" (logit).
    classifier: gives the scores, and the classes of an unconditional network. discriminator: gives the scores.
    drop_copies: refuse near-copies of `training` images, by the threshold of `eval.memorization` in pixels.
    drop_duplicates: refuse an image nearer than this to one accepted before, as a root-mean-square difference of pixels
        in [0, 1]; "auto": the threshold of drop_copies where there are training images, else 0.02; None: keep all.
    training: real images of the network's size, for the two above.
    max_tries: candidates sampled at most for every image wanted.

    Raises:
        InputError: a value out of range, or a part that another needs is missing.
    """

    keep_best: float = 1.0
    score: Score | None = None
    classifier: Classifier | None = field(default=None, compare=False)
    discriminator: ImageDiscriminator | None = field(default=None, compare=False)
    drop_copies: bool = False
    drop_duplicates: float | Literal["auto"] | None = None
    training: ImageSet | None = field(default=None, compare=False)
    max_tries: int = MAX_TRIES

    def __post_init__(self) -> None:
        if not 0 < self.keep_best <= 1:
            raise InputError(f"--keep-best: {self.keep_best} must be above 0 and up to 1 (0.5 keeps half)")
        if self.score is not None and self.score not in get_args(Score):
            raise InputError(f"--score: {self.score!r} must be classifier or discriminator")
        if self.keep_best < 1 and self.score is None:
            raise InputError(f"--keep-best: {self.keep_best} needs --score classifier or discriminator")
        if self.score == "classifier" and self.classifier is None:
            raise InputError("--score: classifier needs --classifier FILE, from gan-lt classifier train")
        if self.score == "discriminator" and self.discriminator is None:
            raise InputError("--score: discriminator needs the discriminator of a run")
        if self.drop_copies and self.training is None:
            raise InputError(
                "--drop-copies: needs the training images; pass --train-data DATA or --top-up DATA"
            )
        distance = self.drop_duplicates
        if distance is not None and distance != "auto" and not 0 < distance <= 1:
            raise InputError(f"--drop-duplicates: {distance} must be above 0 and up to 1")
        if self.max_tries < 1:
            raise InputError(f"--max-tries: {self.max_tries} must be at least 1")

    def describe(self) -> dict[str, Any]:
        """For the manifest, and to tell one command from another: JSON values."""
        return {
            "keep_best": self.keep_best,
            "score": self.score,
            "classifier_sha256": None if self.classifier is None else weights_digest(self.classifier),
            "discriminator_sha256": None
            if self.discriminator is None
            else weights_digest(self.discriminator),
            "drop_copies": self.drop_copies,
            "drop_duplicates": self.drop_duplicates,
            "training": None if self.training is None else self.training.fingerprint(),
            "max_tries": self.max_tries,
        }
