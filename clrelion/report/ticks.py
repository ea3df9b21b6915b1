"""Where an axis has its ticks and what stands there."""

from __future__ import annotations

import math

from clrelion.report.figure import Axis

__all__ = ["Tick", "ticks"]

Tick = tuple[float, str, str]
"""Value, text, and text of a second line (Å under 1/Å)."""

_WANTED = 6
_SMALL, _LARGE = 1e-3, 1e6
_MOST_NAMES = 9


def ticks(axis: Axis) -> list[Tick]:
    """Give the ticks of an axis, about six."""
    if axis.names:
        inside = [(v, name) for v, name in axis.names if axis.low <= v <= axis.high]
        every = max(1, math.ceil(len(inside) / _MOST_NAMES))
        kept = inside[::every]
        left_out = len(inside) - 1 - (len(kept) - 1) * every
        if left_out > 0:  # the last iteration always has its name
            kept = [*(kept if left_out > every / 2 else kept[:-1]), inside[-1]]
        return [(v, name, "") for v, name in kept]
    if axis.scale == "log":
        return _log_ticks(axis.low, axis.high)
    step = nice_step((axis.high - axis.low) / _WANTED)
    if axis.scale == "count":
        step = max(1.0, step)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    found = []
    for i in range(first, last + 1):
        value = i * step
        below = f"{1 / value:.3g} Å" if axis.scale == "frequency" and value > 0 else ""
        found.append((value, number(value, decimals), below))
    return found


def nice_step(rough: float) -> float:
    """Round a step up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    for factor in (1.0, 2.0, 5.0):
        if rough <= factor * power * 1.001:
            return factor * power
    return 10.0 * power


def number(value: float, decimals: int) -> str:
    """Write a tick's number."""
    if value != 0 and not _SMALL <= abs(value) < _LARGE:
        return exponent(value)
    return f"{value + 0.0:.{decimals}f}"


def exponent(value: float) -> str:
    """Write a round number as ``2e-4`` or ``1.5e7``."""
    mantissa, power = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(power)}"


def _log_ticks(low: float, high: float) -> list[Tick]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 1:
        every = max(1, math.ceil((last - first + 1) / 6))
        values = [10.0**power for power in range(first, last + 1, every)]
    else:
        decades = range(first - 1, last + 2)
        values = [f * 10.0**p for p in decades for f in (1, 2, 5) if low <= f * 10.0**p <= high]
    has_small = min(values, default=1.0) < _SMALL  # then all are written in one form
    return [
        (v, exponent(v) if has_small else number(v, max(0, -math.floor(math.log10(v)))), "")
        for v in values
    ]
