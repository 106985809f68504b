"""The judge of labels: the classifier trained on the reference, put to generated and to real training
images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eval.alignment import AlignedSources
from eval.balance import Balance, balance
from eval.extractors import Extractor, ExtractorContext
from eval.extractors.classifier import ClassifierExtractor
from eval.sources import ImageSource


@dataclass(frozen=True)
class JudgedBalance:
    """fake: balance of the generated images. real: that of real training images the judge has not seen (None
    without them): what conditional accuracy can be at best. digest: of the judge's weights."""

    fake: Balance
    real: Balance | None
    digest: str | None


def judge_balance(
    extractor: Extractor,
    context: ExtractorContext,
    sides: AlignedSources,
    training: ImageSource | None,
    *,
    batch_size: int,
) -> JudgedBalance | None:
    """Balance by the reference-trained classifier; None for a single class, where there is nothing to tell
    apart.
    """
    if len(sides.class_names) < 2:
        return None
    judge = extractor if isinstance(extractor, ClassifierExtractor) else ClassifierExtractor.fit(context)

    def seen(source: ImageSource) -> Balance:
        predicted = _predict(judge, source, batch_size)
        return balance(predicted, source.labels, len(sides.class_names))

    unseen = seen(training) if training is not None and len(training) else None
    return JudgedBalance(seen(sides.fake), unseen, judge.weights_hash)


def _predict(judge: ClassifierExtractor, source: ImageSource, batch_size: int) -> npt.NDArray[np.int64]:
    parts = []
    for start in range(0, len(source), batch_size):
        indices = np.arange(start, min(start + batch_size, len(source)))
        parts.append(judge.probabilities(source.read(indices)).argmax(axis=1))
    return np.concatenate(parts).astype(np.int64)
