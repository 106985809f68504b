"""Runs an extractor over a source once, in batches, into memory or into the cache."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from eval.cache import FeatureCache
from eval.extractors.base import Extractor
from eval.feature_matrix import check_finite
from eval.progress import Progress
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
) -> npt.NDArray[np.float32]:
    """Features [n, d], float32, of all images of a source, in its order.

    With a cache, and an extractor whose weights are known, they are taken from there or written to it and
    mapped from disk, so memory does not grow with n. A corrupt cache file is computed again and `warnings`
    says so. Raises InputError for features that are not finite or change their width.
    """
    rows = len(source)
    key = None
    if cache is not None and extractor.weights_hash is not None:
        key = cache.key(source.fingerprint(), extractor.name, extractor.weights_hash, extractor.settings)
        found, said = cache.load(key, rows)
        if said is not None and warnings is not None:
            warnings.append(said)
        if found is not None:
            return found
    target: npt.NDArray[np.float32] | None = None
    partial = None
    try:
        with (progress or Progress(False)).task(
            f"{extractor.name} features of {source.name}", rows
        ) as advance:
            for start in range(0, rows, batch_size):
                indices = np.arange(start, min(start + batch_size, rows))
                features = extractor(source.read(indices))
                check_finite(
                    features, f"the {extractor.name} features of {source.name} (batch from image {start})"
                )
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
