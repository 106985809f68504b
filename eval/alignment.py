"""One list of classes for both sides: matched by name, and what only one side has is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eval.sources import ImageSource
from gan_lt.class_names import all_composed, composed
from gan_lt.errors import InputError


@dataclass(frozen=True)
class AlignedSources:
    """Real and fake images under one list of classes.

    missing: classes without fake images; extra: fake classes that the reference lacks (left out); not_asked:
    classes of the reference that nobody asked fake images of (left out on both sides by `asked_for`).
    """

    class_names: tuple[str, ...]
    real: ImageSource
    fake: ImageSource
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    not_asked: tuple[str, ...] = ()

    def asked_for(self) -> AlignedSources:
        """Both sides without the classes that nobody asked fake images of."""
        if not self.not_asked:
            return self
        names, real, fake = _without(self.class_names, self.not_asked, self.real, self.fake)
        return replace(self, class_names=names, real=real, fake=fake)


def align(
    real: ImageSource, fake: ImageSource, *, allow_missing: bool = False, least: int = 2
) -> AlignedSources:
    """Give both sides the reference's classes.

    Classes are matched by name, in NFC; where one side is arrays, its labels are indices into the other's names; two
    pairs of arrays have the classes their labels name.

    Raises InputError for a class on one side only (unless allow_missing, or nobody asked for it), a label outside the classes,
    different channel counts, or a class of the reference with 1 image, or of the other side with fewer than `least` but not none.
    """
    if real.channels != fake.channels:
        raise InputError(
            f"{real.name} has {real.channels} channels and {fake.name} has {fake.channels}; convert "
            "one of them"
        )
    if real.class_names is None and fake.class_names is None:
        real, fake = _named_by_value(real), _named_by_value(fake)
    real, fake = _composed(real), _composed(fake)
    names = _class_names(real, fake)
    real, _ = _relabel(real, names)
    fake, extra = _relabel(fake, names)
    missing = tuple(name for name, n in zip(names, _counts(fake, names), strict=True) if n == 0)
    # a class without real images can only be here because the names are the fakes'
    absent = tuple(name for name, n in zip(names, _counts(real, names), strict=True) if n == 0)
    extra = (*extra, *absent)
    not_asked = tuple(name for name in missing if name in fake.not_asked)
    missing = tuple(name for name in missing if name not in absent and name not in not_asked)
    if (missing or extra) and not allow_missing:
        parts = []
        if missing:
            parts.append(f"{fake.name} has no images of {_listed(missing)}")
        if extra:
            parts.append(f"{real.name} has no images of {_listed(extra)}")
        raise InputError(
            f"{'; '.join(parts)}. Give both sides the same classes or allow it with --allow-missing"
        )
    if absent:
        names, real, fake = _without(names, absent, real, fake)
    for source, needed in ((real, 2), (fake, least)):
        for name, count in zip(names, source.counts.tolist(), strict=True):
            if count == 1 < needed:
                raise InputError(f"{source.name} has 1 image of class {name!r}; at least 2 are needed")
    if len(fake) == 0:
        raise InputError(f"{fake.name} has no images of any of the reference's classes ({_listed(names)})")
    return AlignedSources(names, real, fake, missing, extra, not_asked)


def counts_by_class(
    train_counts: Sequence[int] | Mapping[str, int] | None, names: Sequence[str], *sources: ImageSource
) -> list[int] | None:
    """Training images a class, in the order of `names`: as given, or as a source knows them; None if nobody
    does.

    Raises InputError for another number of classes, a class that is not named, or a negative count.
    """
    if train_counts is None:
        for source in sources:
            if source.train_counts is not None and set(names) <= set(source.train_counts):
                return [int(source.train_counts[name]) for name in names]
        return None
    if hasattr(train_counts, "tolist"):  # of a tensor or an array
        train_counts = train_counts.tolist()
    if isinstance(train_counts, Mapping):
        train_counts = {composed(str(name)): count for name, count in train_counts.items()}
        lacking = [name for name in names if name not in train_counts]
        if lacking:
            raise InputError(f"train_counts has no entry for {_listed(lacking)}; name every class")
        counts = [train_counts[name] for name in names]
    else:
        counts = list(train_counts)
        if len(counts) != len(names):
            raise InputError(
                f"train_counts has {len(counts)} entries for {len(names)} classes; give one a class"
            )
    for name, count in zip(names, counts, strict=True):
        if not isinstance(count, (int, float, np.integer, np.floating)) or not count >= 0 or count % 1:
            raise InputError(
                f"train_counts has {count} for class {name!r}; it must be a whole number of at least 0"
            )
    return [int(count) for count in counts]


def _class_names(real: ImageSource, fake: ImageSource) -> tuple[str, ...]:
    if real.class_names is not None:
        return real.class_names
    if fake.class_names is not None:
        return fake.class_names
    raise InputError(f"neither {real.name} nor {fake.name} names its classes")


def _composed(source: ImageSource) -> ImageSource:
    """The source with all its names in NFC, as a network or a file from a Mac may not have them.

    Raises InputError for two classes whose names differ by their Unicode form alone.
    """
    if source.class_names is None:
        return source
    names, counts = all_composed(source.class_names), source.train_counts
    again = (
        sorted(name for name in set(names) if names.count(name) > 1) if len(set(names)) < len(names) else []
    )
    if again:
        raise InputError(
            f"{source.name} has class {again[0]!r} twice, in two Unicode forms; rename one or join them"
        )
    return replace(
        source,
        class_names=names,
        train_counts=None if counts is None else {composed(name): n for name, n in counts.items()},
        not_asked=all_composed(source.not_asked),
    )


def _named_by_value(source: ImageSource) -> ImageSource:
    """A pair of arrays whose classes are called after the labels that occur: "0", "1", ..."""
    values, labels = np.unique(source.labels, return_inverse=True)
    return replace(source, labels=labels.astype(np.int64), class_names=tuple(str(value) for value in values))


def _relabel(source: ImageSource, names: tuple[str, ...]) -> tuple[ImageSource, tuple[str, ...]]:
    """The source under `names`, without images of other classes, and the names of those classes."""
    index = {name: position for position, name in enumerate(names)}
    own: tuple[str, ...]
    if source.class_names is not None:
        own = source.class_names
    else:
        if int(source.labels.max()) >= len(names):
            raise InputError(
                f"{source.name}: label {int(source.labels.max())} is outside the {len(names)} "
                "classes of the other side"
            )
        own = names
    present = np.unique(source.labels)
    foreign = tuple(own[label] for label in present if own[label] not in index)
    table = np.array([index.get(name, -1) for name in own], dtype=np.int64)
    labels = table[source.labels]
    kept = np.flatnonzero(labels >= 0).astype(np.int64)
    if len(kept) < len(labels):
        source = source.subset(kept, labels[kept])
    return replace(source, labels=labels[kept], class_names=names), foreign


def _without(
    names: tuple[str, ...], absent: tuple[str, ...], real: ImageSource, fake: ImageSource
) -> tuple[tuple[str, ...], ImageSource, ImageSource]:
    kept = tuple(name for name in names if name not in absent)
    if not kept:
        raise InputError(f"{real.name} and {fake.name} share no class")
    return kept, _relabel(real, kept)[0], _relabel(fake, kept)[0]


def _counts(source: ImageSource, names: tuple[str, ...]) -> list[int]:
    return [int(n) for n in np.bincount(source.labels, minlength=len(names))]


def _listed(names: Sequence[str], shown: int = 8) -> str:
    text = ", ".join(repr(name) for name in names[:shown])
    return f"{text} and {len(names) - shown} more" if len(names) > shown else text
