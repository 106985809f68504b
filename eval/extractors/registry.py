"""Extractors by name, by file and by callable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.extractors.base import Extractor, ExtractorContext
from gan_lt.errors import InputError

Builder = Callable[[ExtractorContext], Extractor]
_BUILDERS: dict[str, Builder] = {}
_TORCHSCRIPT = (".pt", ".pth", ".ts", ".torchscript")


def register_extractor(name: str, builder: Builder) -> None:
    """Make `features=name` mean `builder(context)`. Raises InputError if the name is taken."""
    if name in _BUILDERS or name in _built_in():
        raise InputError(f"the extractor name {name!r} is taken; names: {', '.join(extractor_names())}")
    _BUILDERS[name] = builder


def extractor_names() -> list[str]:
    """Names that `features` accepts, besides callables and files."""
    return sorted({*_built_in(), *_BUILDERS})


def build_extractor(features: Any, context: ExtractorContext) -> Extractor:
    """The extractor that `features` names: a registered name, a TorchScript (.pt, .ts) or ONNX (.onnx) file,
    a callable on uint8 images [n, C, H, W] (a torch module gets a tensor, any other callable a numpy array),
    or an object that already is an Extractor.

    Raises InputError for an unknown name, a missing file or weights that can't be had.
    """
    require_features(features)
    if isinstance(features, (str, Path)):
        name = str(features)
        builders = {**_built_in(), **_BUILDERS}
        if name in builders:
            return builders[name](context)
        path = Path(name)
        if path.suffix in _TORCHSCRIPT:
            from eval.extractors.torchscript import TorchScriptExtractor

            return TorchScriptExtractor(path, context.device)
        from eval.extractors.onnx_file import OnnxExtractor

        return OnnxExtractor(path)
    if isinstance(features, Extractor):
        return features
    from eval.extractors.from_callable import CallableExtractor

    return CallableExtractor(features, context.device)


def require_features(features: Any) -> None:
    """Raises InputError for what names no extractor and is none; whether its weights are there is not asked."""
    if isinstance(features, (str, Path)):
        name = str(features)
        if name not in extractor_names() and Path(name).suffix not in (*_TORCHSCRIPT, ".onnx"):
            raise InputError(
                f"features {name!r} is neither a name ({', '.join(extractor_names())}) nor a TorchScript (.pt, .ts) or "
                "ONNX (.onnx) file"
            )
    elif not isinstance(features, Extractor) and not callable(features):
        raise InputError(
            f"features is {features!r}; give a name ({', '.join(extractor_names())}), a file or a callable"
        )


def _built_in() -> dict[str, Builder]:
    # imports wait until a name is asked for: each brings a network library of its own
    def classifier(context: ExtractorContext) -> Extractor:
        from eval.extractors.classifier import ClassifierExtractor

        return ClassifierExtractor.fit(context)

    def inception(context: ExtractorContext) -> Extractor:
        from eval.extractors.inception import InceptionExtractor

        return InceptionExtractor.load(context)

    def clip(context: ExtractorContext) -> Extractor:
        from eval.extractors.transformers import load_clip

        return load_clip(context)

    def dinov2(context: ExtractorContext) -> Extractor:
        from eval.extractors.transformers import load_dinov2

        return load_dinov2(context)

    return {"classifier": classifier, "inception": inception, "clip": clip, "dinov2": dinov2}
