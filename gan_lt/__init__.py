"""gan_lt: class-conditional GANs for imbalanced image data."""

from gan_lt.version import __version__

__all__ = ["__version__"]
