"""Selection: sample more than is wanted, refuse what fails, keep the best; also how an unconditional network is sorted.

Candidates of a class come in the order of their seeds. A candidate is refused if it is a near-copy of a training image
or a near-duplicate of one accepted before; refused ones are replaced by the next, up to a limit of tries. Of those accepted
the best by score are kept. For an unconditional network the class of a candidate is the classifier's verdict (Rangwani
et al., UAI 2021, sampling). What is decided of a candidate depends on those before it alone: not on how the work is split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lt.errors import InputError
from gan_lt.models import ImageGenerator
from gan_lt.sampling.candidates import Candidates, CandidateStore
from gan_lt.sampling.images import CHUNK, sample_images
from gan_lt.sampling.judges import ClassifierJudge, DiscriminatorJudge
from gan_lt.sampling.nearness import DUPLICATE_RMS, Originals, TrainingCopies, pixel_points
from gan_lt.sampling.plan import SamplingPlan, image_seeds
from gan_lt.sampling.ranks import Ranks
from gan_lt.sampling.selection import Selection

_ACCEPTED, _COPY, _DUPLICATE, _SURPLUS = range(4)
_REASONS = {_COPY: "copy", _DUPLICATE: "duplicate", _SURPLUS: "surplus"}


@dataclass(frozen=True)
class Selected:
    """The images that were kept, ordered by class and seed, and what became of the others.

    labels, seeds, sources: int64 [N]; sources: where the CandidateStore keeps the pixels. drawn: int64 [K], candidates of
    each class. refused: of each class {reason: number}; the reasons are copy, duplicate, score, and surplus (an
    unconditional network made more of the class than wanted).
    """

    labels: NDArray[np.int64]
    seeds: NDArray[np.int64]
    sources: NDArray[np.int64]
    drawn: NDArray[np.int64]
    refused: tuple[dict[str, int], ...]


def select_images(
    generator: ImageGenerator,
    plan: SamplingPlan,
    selection: Selection,
    store: CandidateStore,
    *,
    seed: int,
    psi: NDArray[np.float64],
    ranks: Ranks,
    progress: Callable[[int], None],
) -> Selected:
    """Draw candidates until every class has what the plan asks for, or the tries are used up.

    psi: float64 [K]. progress: called with the number of candidates just accepted.

    Raises:
        InputError: judges that don't fit the network, training images that can't be compared with.
    """
    wanted = candidates_wanted(plan, selection)
    bench = _Bench(generator, plan.class_names, selection)
    acceptance = _Acceptance(bench, wanted)
    streams: list[_Stream] = []
    if generator.num_classes == 0 and wanted.any():
        streams = [_Stream(0, None, int(wanted.sum()) * selection.max_tries, psi[0])]
    elif generator.num_classes > 0:
        streams = [
            _Stream(k, k, int(wanted[k]) * selection.max_tries, psi[k])
            for k in np.flatnonzero(wanted).tolist()
        ]
    drawn: list[_Drawn] = []
    for stream in streams:
        classes = range(len(wanted)) if stream.label is None else [stream.label]
        outcomes = []
        for candidates in _judged(stream, bench, store, seed, ranks, generator):
            outcomes.append(acceptance.decide(candidates))
            progress(int((outcomes[-1].outcome == _ACCEPTED).sum()))
            if acceptance.satisfied(classes):
                break
        drawn.append(_whole(stream.number, seed, outcomes, wanted, acceptance.satisfied(classes)))
    return _best_of(drawn, plan, selection)


def candidates_wanted(plan: SamplingPlan, selection: Selection) -> NDArray[np.int64]:
    """int64 [K]: accepted candidates that the plan's images are the best of."""
    # 3 / 0.3 is 10.000000000000002 in floating point, and ten are meant
    return np.ceil(plan.counts / selection.keep_best - 1e-9).astype(np.int64)


@dataclass(frozen=True)
class _Stream:
    """Candidates in a row: of one class, or, for an unconditional network, of all (label None)."""

    number: int
    label: int | None
    limit: int
    psi: float


@dataclass(frozen=True)
class _Drawn:
    """Candidates of a stream with what was decided, [n] each."""

    number: int
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    outcome: NDArray[np.int64]
    seeds: NDArray[np.int64]


class _Bench:
    """The judges together: images -> classes, scores, which are copies."""

    def __init__(self, generator: ImageGenerator, class_names: tuple[str, ...], selection: Selection) -> None:
        self.selection, self.class_names = selection, class_names
        self._classifier = (
            ClassifierJudge(selection.classifier, generator, class_names)
            if selection.classifier is not None
            and (selection.score == "classifier" or generator.num_classes == 0)
            else None
        )
        self._discriminator = (
            DiscriminatorJudge(selection.discriminator, generator)
            if selection.discriminator is not None and selection.score == "discriminator"
            else None
        )
        needed = selection.drop_copies or selection.drop_duplicates == "auto"
        self._copies = (
            TrainingCopies(
                selection.training,
                class_names,
                "--drop-copies" if selection.drop_copies else "--drop-duplicates",
            )
            if selection.training is not None and needed
            else None
        )

    def judge(self, images: NDArray[np.uint8], label: int | None) -> Candidates:
        probabilities = None if self._classifier is None else self._classifier.probabilities(images)
        if label is not None:
            labels = np.full(len(images), label, dtype=np.int64)
        elif probabilities is not None:
            labels = probabilities.argmax(axis=1).astype(np.int64)
        else:
            raise InputError("--network: is unconditional; pass --classifier FILE to sort its images")
        scores = np.zeros(len(images), dtype=np.float32)
        if self._discriminator is not None:
            scores = self._discriminator.scores(images, labels)
        elif probabilities is not None:
            scores = probabilities[np.arange(len(images)), labels]
        copies = np.zeros(len(images), dtype=bool)
        if self.selection.drop_copies and self._copies is not None:
            copies = self._copies.find(pixel_points(images), labels)
        return Candidates(images, labels, scores, copies)

    def originals(self, label: int, limit: int, dimensions: int) -> Originals:
        """What the duplicates of a class are measured against."""
        distance = self.selection.drop_duplicates
        if distance == "auto" and self._copies is not None:
            return Originals(self._copies.threshold(label), limit)
        rms = DUPLICATE_RMS if distance in (None, "auto") else float(distance)
        return Originals(rms * math.sqrt(dimensions), limit)


class _Acceptance:
    """Candidates in order -> accepted or refused, until every class has what it wants."""

    def __init__(self, bench: _Bench, wanted: NDArray[np.int64]) -> None:
        self._bench, self._wanted = bench, wanted
        self._have = np.zeros(len(wanted), dtype=np.int64)
        self._originals: dict[int, Originals] = {}

    def satisfied(self, classes: range | list[int]) -> bool:
        """Whether each of the classes has what it wants."""
        chosen = list(classes)
        return bool((self._have[chosen] >= self._wanted[chosen]).all())

    def decide(self, candidates: Candidates) -> _Drawn:
        labels = candidates.labels
        outcome = np.full(len(labels), _SURPLUS, dtype=np.int64)
        for label in np.unique(labels).tolist():
            rows = np.flatnonzero(labels == label)
            room = int(self._wanted[label] - self._have[label])
            if room == 0:
                continue
            fresh = rows[~candidates.copies[rows]]
            kept = np.arange(len(fresh)) < room
            if self._bench.selection.drop_duplicates is not None and len(fresh):
                kept = self._without_duplicates(label, pixel_points(candidates.images[fresh]), room)
            accepted = fresh[kept]
            # once a class is full, what follows is surplus, whatever else it might be
            last = accepted[-1] if kept.sum() == room else len(labels)
            outcome[rows[rows <= last]] = _DUPLICATE
            outcome[rows[candidates.copies[rows] & (rows <= last)]] = _COPY
            outcome[accepted] = _ACCEPTED
            self._have[label] += len(accepted)
        return _Drawn(0, labels, candidates.scores, outcome, np.empty(0, dtype=np.int64))

    def _without_duplicates(self, label: int, points: NDArray[np.float32], room: int) -> NDArray[np.bool_]:
        if label not in self._originals:
            limit = int(self._wanted[label])
            self._originals[label] = self._bench.originals(label, limit, points.shape[1])
        return self._originals[label].accept(points, room)


def _judged(
    stream: _Stream, bench: _Bench, store: CandidateStore, seed: int, ranks: Ranks, generator: ImageGenerator
) -> Iterator[Candidates]:
    """The stream's candidates block by block; each block is made by one rank, once, and read by all."""
    starts = range(0, stream.limit, CHUNK)  # a range, not a list: the limit of tries may be astronomical
    for first in range(0, len(starts), ranks.size):
        if first + ranks.rank < len(starts):
            number = first + ranks.rank
            if not store.has(stream.number, number):
                indices = np.arange(starts[number], min(starts[number] + CHUNK, stream.limit))
                labels = np.full(len(indices), stream.number, dtype=np.int64)
                images = sample_images(generator, labels, image_seeds(seed, labels, indices), stream.psi)
                store.save(stream.number, number, bench.judge(images, stream.label))
        ranks.barrier()
        for number in range(first, min(first + ranks.size, len(starts))):
            yield store.load(stream.number, number)


def _whole(number: int, seed: int, parts: list[_Drawn], wanted: NDArray[np.int64], satisfied: bool) -> _Drawn:
    """All candidates of a stream up to the one that made it complete."""
    labels = np.concatenate([part.labels for part in parts])
    outcome = np.concatenate([part.outcome for part in parts])
    end = len(labels)
    if satisfied:
        end = int(np.flatnonzero(outcome == _ACCEPTED)[-1]) + 1
    stream = np.full(end, number, dtype=np.int64)
    return _Drawn(
        number,
        labels[:end],
        np.concatenate([part.scores for part in parts])[:end],
        outcome[:end],
        image_seeds(seed, stream, np.arange(end)),
    )


def _best_of(drawn: list[_Drawn], plan: SamplingPlan, selection: Selection) -> Selected:
    size = len(plan.counts)
    counts = np.zeros(size, dtype=np.int64)
    refused: list[dict[str, int]] = [{} for _ in range(size)]
    chosen: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for part in drawn:
        counts += np.bincount(part.labels, minlength=size)
        for label in np.unique(part.labels).tolist():
            of_class = part.labels == label
            for code, reason in _REASONS.items():
                if number := int((of_class & (part.outcome == code)).sum()):
                    refused[label][reason] = number
            accepted = np.flatnonzero(of_class & (part.outcome == _ACCEPTED))
            room = min(int(plan.counts[label]), math.ceil(len(accepted) * selection.keep_best - 1e-9))
            best = np.sort(accepted[np.argsort(-part.scores[accepted], kind="stable")[:room]])
            if len(best) < len(accepted):
                refused[label]["score"] = len(accepted) - len(best)
            chosen.append(
                (
                    np.full(len(best), label, dtype=np.int64),
                    part.seeds[best],
                    CandidateStore.source(part.number, best),
                )
            )
    if not chosen:
        empty = np.empty(0, dtype=np.int64)
        return Selected(empty, empty, empty, counts, tuple(refused))
    labels, seeds, sources = (np.concatenate(column) for column in zip(*chosen, strict=True))
    order = np.argsort(labels, kind="stable")
    return Selected(labels[order], seeds[order], sources[order], counts, tuple(refused))
