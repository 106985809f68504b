"""Evaluation of generated images: whole and class by class.

>>> from eval import frechet_distance_from_features
>>> round(frechet_distance_from_features([[0.0, 0.0], [2.0, 0.0]], [[3.0, 0.0], [5.0, 0.0]]), 6)
9.0
"""

import sys
from contextlib import nullcontext

from gan_lt.loading import loading

# `python -m eval` loads this package while it looks for the module to run, and the first argument is still "-m" then
with loading() if sys.argv[:1] == ["-m"] else nullcontext():
    from eval.evaluation import EvaluationOptions, evaluate
    from eval.frechet import frechet_distance, frechet_distance_from_features
    from eval.kernel import kernel_distance
    from eval.manifold import prdc
    from eval.memorization import memorization
    from eval.moments import StreamingMoments
    from eval.reference import Reference
    from eval.report import Report

__all__ = [
    "EvaluationOptions",
    "Reference",
    "Report",
    "StreamingMoments",
    "evaluate",
    "frechet_distance",
    "frechet_distance_from_features",
    "kernel_distance",
    "memorization",
    "prdc",
]
