"""A bar chart of shares as one SVG text, for a page of documentation."""

from collections.abc import Mapping
from html import escape

_COLOURS = ("#3b6ea5", "#c8553d", "#588157", "#8a6fb0", "#b08d3c", "#4d4d4d")
_HEIGHT, _BAR, _GAP, _LEFT, _TOP = 200, 14, 18, 40, 40


def bars(groups: Mapping[str, Mapping[str, float]]) -> str:
    """Bars side by side, one colour a group, for each figure that the groups share.

    Args:
        groups: for each group, shares of 0..1 by figure; all have the same figures.
    """
    figures = list(next(iter(groups.values())))
    step = _BAR * len(groups) + _GAP
    width = _LEFT + step * len(figures) + _GAP
    parts = [_grid(width), *(_legend(number, name) for number, name in enumerate(groups))]
    for column, figure in enumerate(figures):
        left = _LEFT + _GAP + column * step
        parts.append(_text(left, _TOP + _HEIGHT + 16, figure))
        parts += [_bar(left + number * _BAR, row[figure], number) for number, row in enumerate(groups.values())]
    size = f'width="{width}" height="{_TOP + _HEIGHT + 30}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return f"{head}{''.join(parts)}</svg>\n"


def _grid(width: int) -> str:
    lines = []
    for tenth in range(0, 11, 2):
        y = _TOP + _HEIGHT * (1 - tenth / 10)
        lines.append(f'<line x1="{_LEFT}" y1="{y}" x2="{width}" y2="{y}" stroke="#ddd"/>')
        lines.append(_text(8, y + 4, f"{tenth / 10:.1f}"))
    return "".join(lines)


def _legend(number: int, name: str) -> str:
    x = _LEFT + number * 140
    return f'<rect x="{x}" y="8" width="10" height="10" fill="{_colour(number)}"/>{_text(x + 15, 17, name)}'


def _bar(x: float, share: float, number: int) -> str:
    height = _HEIGHT * share
    place = f'x="{x}" y="{_TOP + _HEIGHT - height:.1f}" width="{_BAR - 2}" height="{height:.1f}"'
    return f'<rect {place} fill="{_colour(number)}"><title>{share:.3f}</title></rect>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}">{escape(text)}</text>'


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
