"""Import torchvision where its compiled operators are missing.

A torchvision wheel built for CUDA beside a CPU-only torch cannot load its library of operators, and then
``import torchvision`` fails with "operator torchvision::nms does not exist": it registers a fake kernel for
an operator that nobody declared. Nothing here uses that operator (models, datasets and transforms are plain
PyTorch), so declaring its schema is enough.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType

import torch

_MISSING_OPERATOR = "operator torchvision::nms does not exist"
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# Schemas vanish with the Library object that declared them, so it lives as long as the process.
_declarations: list[torch.library.Library] = []
_lock = threading.Lock()


def import_torchvision() -> ModuleType:
    """The ``torchvision`` package, imported on the first call.

    Only when the import fails because ``torchvision::nms`` does not exist are the schemas of
    ``torchvision::nms`` and ``torchvision::qnms`` declared and the import tried again; calling those
    operators still fails, as they have no kernel. Submodules such as ``torchvision.models`` can be
    imported normally afterwards.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: the import failed for any other reason.
    """
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if _MISSING_OPERATOR not in str(error) or _declarations:
                raise
        _forget_partial_import()
        _declarations.append(_declare_missing_operators())
        return importlib.import_module("torchvision")


def _forget_partial_import() -> None:
    """Drop what the failed import left behind: its submodules would shadow those of the second try."""
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]


def _declare_missing_operators() -> torch.library.Library:
    library = torch.library.Library(  # type: ignore[no-untyped-call]
        "torchvision", "FRAGMENT"
    )
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)  # type: ignore[no-untyped-call]
    return library
