"""Feature extractors behind one small interface, and the registry that finds them by name."""

from eval.extractors.base import Extractor, ExtractorContext
from eval.extractors.registry import build_extractor, extractor_names, register_extractor, require_features

__all__ = [
    "Extractor",
    "ExtractorContext",
    "build_extractor",
    "extractor_names",
    "register_extractor",
    "require_features",
]
