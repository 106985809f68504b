"""Bars per class as inline SVG: ordered by training count, shot groups shaded, colours from the page's style
sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 360  # view box units; panels are about as many pixels wide on a phone, so text stays readable
_ROW = 22
_NAME = 92
_VALUE = 50  # room for values of up to _DIGITS characters
_DIGITS, _DIGIT = 6, 8
_MOST_ROWS = 30  # above, one thin column a class, and names in the tooltips


@dataclass(frozen=True)
class Bar:
    """One class: its value (None: not measured), interval, shot group and the text shown for the value."""

    name: str
    group: str | None
    value: float | None
    interval: tuple[float, float] | None
    text: str
    tooltip: str


def bar_chart(title: str, bars: Sequence[Bar], highest: float | None = None) -> Markup:
    """A bar chart of non-negative values; `highest` fixes the scale (1 for shares)."""
    tops = [bar.value for bar in bars if bar.value is not None]
    tops += [bar.interval[1] for bar in bars if bar.interval is not None and highest is None]
    top = highest if highest is not None else max([*tops, 1e-12])
    body = _rows(bars, top) if len(bars) <= _MOST_ROWS else _columns(bars, top)
    height = len(bars) * _ROW + 4 if len(bars) <= _MOST_ROWS else 190
    return Markup('<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, f"{title}: bar chart, a bar a class; the values are in the table", body
    )


def _rows(bars: Sequence[Bar], top: float) -> Markup:
    longest = max((len(bar.text) for bar in bars), default=0)
    span = WIDTH - _NAME - _VALUE - max(0, longest - _DIGITS) * _DIGIT
    parts = []
    for position, bar in enumerate(bars):
        y = position * _ROW + 2
        width = span * min(max(bar.value or 0.0, 0.0) / top, 1.0)
        parts.append(
            Markup('<g><title>{}</title><rect class="band {}" x="0" y="{}" width="{}" height="{}"/>').format(
                bar.tooltip, bar.group or "", y, WIDTH, _ROW
            )
        )
        parts.append(
            Markup('<text class="name" x="{}" y="{}">{}</text>').format(
                _NAME - 8, y + 15, _short(bar.name, 13)
            )
        )
        if bar.value is not None:
            parts.append(
                Markup('<rect class="bar {}" x="{}" y="{}" width="{:.1f}" height="{}" rx="2"/>').format(
                    bar.group or "", _NAME, y + 4, max(width, 1.0), _ROW - 8
                )
            )
        if bar.interval is not None:
            low, high = (_NAME + span * min(max(edge, 0.0) / top, 1.0) for edge in bar.interval)
            parts.append(
                Markup('<path class="whisker" d="M{:.1f} {}H{:.1f}M{:.1f} {}v6M{:.1f} {}v6"/>').format(
                    low, y + 11, high, low, y + 8, high, y + 8
                )
            )
        parts.append(
            Markup('<text class="value" x="{}" y="{}">{}</text></g>').format(WIDTH - 4, y + 15, bar.text)
        )
    return Markup("").join(parts)


def _columns(bars: Sequence[Bar], top: float) -> Markup:
    base, tall = 172.0, 160.0
    step = WIDTH / len(bars)
    parts = []
    for position, bar in enumerate(bars):
        x = position * step
        height = tall * min(max(bar.value or 0.0, 0.0) / top, 1.0)
        parts.append(
            Markup(
                '<g><title>{}</title><rect class="band {}" x="{:.2f}" y="8" width="{:.2f}" height="{}"/>'
                '<rect class="bar {}" x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}"/></g>'
            ).format(
                bar.tooltip,
                bar.group or "",
                x,
                step,
                base - 8,
                bar.group or "",
                x + step * 0.1,
                base - height,
                step * 0.8,
                height,
            )
        )
    parts.append(
        Markup(
            '<text class="axis" x="0" y="186">most training images</text><text class="axis end" '
            'x="{}" y="186">fewest</text>'
            '<text class="axis end" x="{}" y="18">{}</text>'
        ).format(WIDTH, WIDTH - 2, f"{top:.3g}")
    )
    return Markup("").join(parts)


def _short(name: str, length: int) -> Markup:
    return escape(name if len(name) <= length else name[: length - 1] + "…")
