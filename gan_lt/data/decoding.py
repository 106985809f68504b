"""From an encoded image to uint8 pixels: what is accepted, how it is cropped, resized and converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gan_lt.errors import InputError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"}
)
MAX_PIXELS = 2**28
MIN_RESOLUTION, MAX_RESOLUTION = 8, 1024

Where = Callable[[], str]  # asked only where something is wrong: workers share names that they don't touch

_GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
_METADATA = frozenset({"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"})
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


class CorruptImageError(InputError):
    """An image file that can't be decoded: truncated, damaged, or not an image at all."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its image before any pixel is decoded. Sizes in pixels."""

    width: int
    height: int
    is_colour: bool


def require_resolution(resolution: int, option: str = "--resolution") -> int:
    """``resolution`` itself, or InputError where it is not a power of two from 8 to 1024."""
    power_of_two = (
        isinstance(resolution, int | np.integer) and resolution > 0 and resolution & (resolution - 1) == 0
    )
    if not power_of_two or not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        raise InputError(
            f"{option} {resolution} is not possible: it must be a power of two "
            f"from {MIN_RESOLUTION} to {MAX_RESOLUTION}"
        )
    return int(resolution)


def read_header(stream: IO[bytes], where: Where) -> ImageHeader:
    """Size and colour of an encoded image, decoding no pixels.

    Args:
        stream: the encoded image, seekable.
        where: gives how messages name the file.

    Raises:
        CorruptImageError: it is not an image that Pillow knows.
        InputError: it has more than 2^28 pixels.
    """
    with _open(stream, where) as image:
        try:
            return ImageHeader(image.width, image.height, _is_colour(image))
        except Exception as error:  # Pillow reads a palette only now, and raises many types for damaged ones
            raise corrupt_image(where, error) from error


def decode_image(stream: IO[bytes], where: Where, resolution: int | None, channels: int) -> NDArray[np.uint8]:
    """Decode one image to uint8 ``[channels, H, W]``.

    A photograph is first turned upright by its EXIF orientation. With a ``resolution`` the largest centred
    square is cut out and resized by Lanczos's antialiased filter (nothing is resampled where the size is
    right already); without one the image keeps its size. Transparent pixels are laid over white, 16-bit
    values are scaled to 8 bits, an animation gives its first frame, colour becomes gray by ITU-R 601-2 luma.

    Raises:
        CorruptImageError: the pixels can't be decoded.
        InputError: more than 2^28 pixels, or floating-point pixels whose scale is unknown.
    """
    with _open(stream, where) as image:
        try:
            image.load()
            upright = ImageOps.exif_transpose(image) if _may_be_turned(image) else image
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise many types for damaged data
            raise corrupt_image(where, error) from error
        square = _crop_and_resize(_to_eight_bits(upright, channels, where), resolution)
    pixels = np.asarray(square, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def reshape_images(images: NDArray[np.uint8], resolution: int | None, channels: int) -> NDArray[np.uint8]:
    """uint8 ``[N, H, W, 3]`` to uint8 ``[N, channels, R, R]``, by the rules of ``decode_image``."""
    if channels == 3 and resolution in (None, images.shape[1]):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    mode = "L" if channels == 1 else "RGB"
    shaped = np.stack(
        [np.asarray(_crop_and_resize(Image.fromarray(image).convert(mode), resolution)) for image in images]
    )
    return shaped[:, None] if channels == 1 else np.ascontiguousarray(shaped.transpose(0, 3, 1, 2))


def corrupt_image(where: Where, error: BaseException) -> CorruptImageError:
    reason = " ".join((str(error) or type(error).__name__).split())
    if isinstance(error, UnidentifiedImageError):
        reason = "not an image that can be read"
    return CorruptImageError(
        f"{where()} is corrupt ({reason}): repair or remove it, or pass --skip-corrupt to leave such images out"
    )


def _open(stream: IO[bytes], where: Where) -> Image.Image:
    try:
        image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{where()} has too many pixels ({error}): images may have up to {MAX_PIXELS}, remove or shrink it"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's parsers raise many types for damaged headers
        raise corrupt_image(where, error) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise InputError(
            f"{where()} is {image.width}x{image.height}, more than {MAX_PIXELS} pixels: remove or shrink it"
        )
    return image


def _may_be_turned(image: Image.Image) -> bool:
    # Asking Pillow for the orientation of every small image costs as much as decoding it.
    return image.format == "TIFF" or not _METADATA.isdisjoint(image.info)


def _is_colour(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.frombuffer(bytes(image.getpalette() or ()), dtype=np.uint8).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return image.mode not in _GRAY_MODES


def _to_eight_bits(image: Image.Image, channels: int, where: Where) -> Image.Image:
    mode = "L" if channels == 1 else "RGB"
    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(
                f"{where()} has integer pixels outside 0..65535: save it with 8 or 16 bits a channel"
            )
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise InputError(f"{where()} has floating-point pixels: save it with 8 or 16 bits a channel")
    elif image.mode in _ALPHA_MODES or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image if image.mode == mode else image.convert(mode)


def _crop_and_resize(image: Image.Image, resolution: int | None) -> Image.Image:
    if resolution is None or image.size == (resolution, resolution):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cut first: given a box, resize() lets the filter see the pixels around it.
    square = image.crop((left, top, left + side, top + side))
    return square if side == resolution else square.resize((resolution, resolution), Image.Resampling.LANCZOS)
