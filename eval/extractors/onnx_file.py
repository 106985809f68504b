"""Any ONNX file as an extractor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eval.extractors.base import FeatureArray, ImageArray
from eval.extractors.weights import hash_file
from gan_lt.errors import InputError


class OnnxExtractor:
    """A graph whose first input is float32 images [n, C, H, W], 0 to 255, at their own size, and first output
    [n, d].

    Runs on the CPU. Raises InputError without onnxruntime, for a file that can't be read, or an output of
    another shape.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"the ONNX file {path} doesn't exist")
        try:
            import onnxruntime
        except ImportError:
            raise InputError(
                f"features {str(path)!r} needs onnxruntime, which is not installed; run: pip install "
                "onnxruntime"
            ) from None
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path} can't be read as ONNX ({reason}); get the file again") from None
        self._input = self._session.get_inputs()[0].name
        self.name = path.name
        self.weights_hash: str | None = hash_file(path)
        self.settings: Mapping[str, Any] = {"input": "float32, 0 to 255, own size"}

    def __call__(self, images: ImageArray) -> FeatureArray:
        features = np.asarray(self._session.run(None, {self._input: images.astype(np.float32)})[0])
        if features.ndim != 2 or len(features) != len(images):
            raise InputError(
                f"{self.name} returned shape {features.shape} for {len(images)} images; it must "
                "return [images, d]"
            )
        return features.astype(np.float32, copy=False)
