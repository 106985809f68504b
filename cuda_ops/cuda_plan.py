"""What to launch on CUDA, and how wide: pure functions of sizes and types."""

from __future__ import annotations

import torch

TYPE_NAMES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "BFloat16",
    torch.float16: "Half",
}
THREADS = 256
ROWS_A_THREAD = 4  # of upfirdn2d_rows
MAX_GRID_Y = 65535

Grid = tuple[int, int, int]
Block = tuple[int, int]


def power_of_two(n: int) -> int:
    """The smallest power of two of at least n."""
    return 1 << max(0, n - 1).bit_length()


def vector_width(dtype: torch.dtype, run: int, most_bytes: int = 16) -> int:
    """How many values move as one access where `run` of them lie together: those of `most_bytes`, or 1."""
    width = 1 if dtype == torch.float64 else most_bytes // dtype.itemsize
    return width if run % width == 0 else 1


def epilogue_plan(
    samples: int, channels: int, pixels: int, channels_last: bool, width: int
) -> tuple[Grid, Block, int]:
    """(grid, block, parts) of an epilogue kernel; `parts` is how many blocks share a sample's or a plane's pixels."""
    vectors = (channels if channels_last else pixels) // width
    columns = min(32 if channels_last else THREADS, power_of_two(vectors))
    rows = THREADS // columns
    # A thread takes about eight vectors. The bound on blocks keeps the partial sums small beside the image.
    if channels_last:
        across, deep, pieces = -(-vectors // columns), samples, -(-pixels // (rows * 8))
    else:
        across, deep, pieces = -(-samples * channels // rows), 1, -(-vectors // (columns * 8))
    parts = max(1, min(pieces, 16384 // (across * deep) + 1, MAX_GRID_Y))
    return (across, parts, deep), (columns, rows), parts


def upfirdn2d_plan(
    dtype: torch.dtype,
    planes: int,
    k: int,
    width: int,
    out: tuple[int, int],
    up: tuple[int, int],
    down: tuple[int, int],
    filter_size: tuple[int, int],
    separable: bool,
    pad_y: int,
) -> tuple[str, Grid]:
    """(kernel, grid) of upfirdn2d: a specialised kernel where there is one, else the general one.

    Args:
        dtype: of the image.
        planes, k: images and values a pixel (N and C where channels_last, else N * C and 1).
        width: values an access, of k.
        out, up, down, filter_size: (x, y).
        separable: whether the filter has one dimension.
        pad_y: rows of zeros above.
    """
    out_w, out_h = out
    name = TYPE_NAMES[dtype]
    taps = 12 if separable else 4
    specialised = up[0] == up[1] and down[0] == down[1] and (up[0], down[0]) in {(1, 1), (2, 1), (1, 2)}
    if specialised and max(filter_size) <= taps:
        # Doubling starts on a row whose phase is zero, maybe one above the image.
        rows = -(-(out_h + (pad_y % 2 if up[0] == 2 else 0)) // ROWS_A_THREAD)
        if rows <= MAX_GRID_Y:
            kind = f"{up[0]}, {down[0]}, {taps}, {str(separable).lower()}, {ROWS_A_THREAD}"
            return f"upfirdn2d_rows<{name}, {width}, {kind}>", (
                -(-planes * out_w * (k // width) // THREADS),
                rows,
                1,
            )
    blocks = -(-planes * out_h * out_w * (k // width) // THREADS)
    return f"upfirdn2d_any<{name}, {width}>", (min(blocks, 1 << 20), 1, 1)
