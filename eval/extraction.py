"""Runs an extractor over a source once, in batches, into memory or into the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from eval.cache import FeatureCache
from eval.extractors.base import Extractor
from eval.feature_matrix import check_finite
from eval.progress import Progress
from eval.ranks import Ranks
from eval.sources import ImageSource
from gan_lt.errors import InputError


def extract_features(
    source: ImageSource,
    extractor: Extractor,
    *,
    batch_size: int = 64,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
    warnings: list[str] | None = None,
    ranks: Ranks | None = None,
) -> npt.NDArray[np.float32]:
    """Features [n, d], float32, of all images of a source, in its order.

    With a cache, and an extractor whose weights are known, they are taken from there or written to it and
    mapped from disk, so memory does not grow with n. A corrupt cache file is computed again and `warnings`
    says so. Several processes take the batches in turn and the first one gets all features, the same as those of
    one process; the others get those of no image, [0, d]. Raises InputError for features that are not finite or
    change their width.
    """
    rows = len(source)
    ranks = ranks or Ranks()
    key = None
    if cache is not None and extractor.weights_hash is not None:
        key = cache.key(source.fingerprint(), extractor.name, extractor.weights_hash, extractor.settings)
        found, said = cache.load(key, rows) if ranks.leads else (None, None)
        if said is not None and warnings is not None:
            warnings.append(said)
        if ranks.told(found is not None):
            return np.empty((0, 0), np.float32) if found is None else found
    if not ranks.leads:
        return _contribute(source, extractor, batch_size, ranks)
    target: npt.NDArray[np.float32] | None = None
    partial = None
    try:
        with (progress or Progress(False)).task(
            f"{extractor.name} features of {source.name}", rows
        ) as advance:
            for indices, features in _batches(source, extractor, batch_size, ranks):
                if target is None:
                    if cache is not None and key is not None:
                        target, partial = cache.scratch(rows, features.shape[1])
                    else:
                        target = np.empty((rows, features.shape[1]), np.float32)
                if features.shape[1] != target.shape[1]:
                    raise InputError(
                        f"the extractor {extractor.name} gave {features.shape[1]} dimensions after "
                        f"{target.shape[1]}"
                    )
                target[indices] = features
                advance(len(indices))
            for rank in range(1, ranks.size if target is not None else 1):
                theirs = _rows_of(rank, rows, batch_size, ranks)
                if len(theirs):
                    received = ranks.receive(rank)
                    if target is None or received.shape[1] != target.shape[1]:
                        raise InputError(
                            f"the extractor {extractor.name} gave {received.shape[1]} dimensions in another process"
                        )
                    target[theirs] = received
                    advance(len(theirs))
        if target is None:
            raise InputError(f"{source.name} holds 0 images; there is nothing to compute features of")
        if cache is not None and key is not None and partial is not None:
            flush = getattr(target, "flush", None)
            if flush is not None:
                flush()
            target = cache.commit(key, partial)
            partial = None
        return target
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _rows_of(rank: int, rows: int, batch_size: int, ranks: Ranks) -> npt.NDArray[np.int64]:
    """The images of a process: every size-th batch. Whole batches, so that a batch is computed as by one process."""
    return np.flatnonzero(np.arange(rows) // batch_size % ranks.size == rank).astype(np.int64)


def _batches(
    source: ImageSource, extractor: Extractor, batch_size: int, ranks: Ranks
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """(positions, features) of this process's batches."""
    mine = _rows_of(ranks.rank, len(source), batch_size, ranks)
    for start in range(0, len(mine), batch_size):
        indices = mine[start : start + batch_size]
        features = extractor(source.read(indices))
        where = f"(batch from image {indices[0]})"
        check_finite(features, f"the {extractor.name} features of {source.name} {where}")
        yield indices, features


def _contribute(
    source: ImageSource, extractor: Extractor, batch_size: int, ranks: Ranks
) -> npt.NDArray[np.float32]:
    parts = [features for _, features in _batches(source, extractor, batch_size, ranks)]
    if not parts:
        return np.empty((0, 0), np.float32)
    ranks.send(np.concatenate(parts).astype(np.float32, copy=False))
    return np.empty((0, parts[0].shape[1]), np.float32)
