"""resize_planes: native and reference against the matrix product that it is."""

from __future__ import annotations

import pytest
import torch

from cuda_ops import backend_info, use_backend
from cuda_ops.resize import resize_planes


def filter_rows(size: int, side: int, taps: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size + side)
    starts = torch.randint(0, side - taps + 1, (size,), generator=generator)
    return torch.rand(size, taps, generator=generator) - 0.2, starts


@pytest.mark.parametrize(
    ("size", "side", "taps"), [(13, 7, 3), (8, 32, 5), (5, 40, 8), (299, 16, 4), (1, 1, 1)]
)
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_it_is_a_product_with_the_filter_on_both_sides(size: int, side: int, taps: int, backend: str) -> None:
    if backend == "native" and backend_info()["cpu"]["backend"] != "native":  # type: ignore[index]
        pytest.skip("no native kernels on this machine")
    planes = torch.randint(0, 256, (5, side, side), dtype=torch.uint8)
    weights, starts = filter_rows(size, side, taps)
    matrix = torch.zeros(size, side, dtype=torch.float64)
    for row in range(size):
        matrix[row, starts[row] : starts[row] + taps] = weights[row].double()
    expected = (matrix @ planes.double() @ matrix.T).clamp(0, 200)
    out = torch.full((5, size, size), float("nan"))
    with use_backend(backend):
        resize_planes(planes, weights, starts, 200.0, out)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-3)


def test_bad_input_is_named() -> None:
    planes = torch.zeros(2, 8, 8, dtype=torch.uint8)
    weights, starts = filter_rows(4, 8, 3)
    out = torch.empty(2, 4, 4)
    for given, message in (
        ((planes.float(), weights, starts, 255.0, out), r"planes is torch.float32 \[2, 8, 8\]"),
        ((planes, weights, starts, 255.0, out[:, :3]), r"out is torch.float32 \[2, 3, 4\]"),
        ((planes, weights, starts + 3, 255.0, out), "leave planes of 8 pixels"),
        ((planes, weights, starts - 9, 255.0, out), "leave planes of 8 pixels"),
        ((planes[:, :6], weights, starts, 255.0, out), r"planes is torch.uint8 \[2, 6, 8\]"),
    ):
        with pytest.raises(ValueError, match=message):
            resize_planes(*given)
