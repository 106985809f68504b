"""The names of the metrics, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Sequence, Set

from gan_lt.errors import InputError

METRICS = ("fid", "kid", "prdc", "ifid", "balance", "memorization", "utility")
DEFAULT_METRICS = ("fid", "kid", "prdc", "ifid", "balance")


def metric_names(metrics: Sequence[str] | str | None, *, has_train: bool) -> frozenset[str]:
    """The set of metrics asked for; raises InputError for an unknown or an empty list."""
    if metrics is None:
        return frozenset((*DEFAULT_METRICS, "memorization") if has_train else DEFAULT_METRICS)
    if not isinstance(metrics, (str, Sequence, Set)):
        raise InputError(f"metrics is {metrics!r}; give names out of {', '.join(METRICS)}")
    names = [name.strip() for name in metrics.split(",")] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in METRICS:
            raise InputError(f"metric {name!r} is unknown; choose from {', '.join(METRICS)}")
    if not names:
        raise InputError(f"metrics is empty; choose from {', '.join(METRICS)}")
    needing = sorted({"memorization", "utility"} & set(names))
    if needing and not has_train:
        raise InputError(
            f"metric {needing[0]!r} needs the training images; give them with train=... (--train DATA or RUN)"
        )
    return frozenset(names)
