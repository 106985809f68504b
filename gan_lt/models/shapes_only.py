"""Networks without weights: what a file claims can be checked before memory is set aside for it."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_MAKERS = (torch.randn, torch.zeros, torch.ones, torch.empty, torch.full)


class ShapesOnly(TorchFunctionMode):
    """While active, a network is built without memory for its weights: they are meta tensors."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        placed = {"device": "meta"} if func in _MAKERS else {}
        return func(*args, **{**(kwargs or {}), **placed})
