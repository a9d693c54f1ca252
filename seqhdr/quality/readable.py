"""Numbers as a person would write them: no more digits than matter, and never 100 % of what is not all."""

from __future__ import annotations

import math

from markupsafe import Markup

__all__ = ["NOTHING", "amount", "number", "percent", "quantity", "quantity_html"]

#: Stands for what could not be measured.
NOTHING = "–"

_NARROW = "\u202f"  # a narrow space that does not break
_LEAST = 1e-6


def amount(value: float | None, unit: str | None) -> str:
    """:func:`quantity` without the unit."""
    return _parts(value, unit)[0]


def number(value: float | None) -> str:
    """Three significant digits, two below 0.001; whole numbers as they are, in groups of three from 10 000 on.

    Just below 1 there are as many digits as it takes to see what is missing, so that 0.99982 is not 1.

    Args:
        value: anything; None and NaN become :data:`NOTHING`.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    sign, size = "−" if value < 0 else "", abs(float(value))
    if size == 0:
        return "0"
    if size < _LEAST:
        return f"<{_NARROW}{sign}0.000001" if not sign else f">{_NARROW}−0.000001"
    if size == int(size) or size >= 999.5:
        return sign + _grouped(f"{size:.0f}")
    if 0.99 < size < 1:
        return sign + _below_one(size)
    digits = 3 if size >= 0.001 else 2
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
    return sign + _stripped(f"{size:.{decimals}f}")


def percent(share: float | None) -> str:
    """A share 0 .. 1 in per cent. What is not all is rounded away from 100 %, what is not nothing from 0 %."""
    if share is None or math.isnan(share):
        return NOTHING
    if 0.99 < share < 1:
        digits = _below_one(share).removeprefix("0.").ljust(2, "0")
        return f"{_stripped(f'{digits[:2]}.{digits[2:]}')}{_NARROW}%"
    return f"{number(100 * share)}{_NARROW}%"


def quantity(value: float | None, unit: str | None) -> str:
    """A number with its unit: ``share`` is written in per cent, ``dB`` with two decimals, ``index`` has no unit."""
    text, shown = _parts(value, unit)
    return f"{text}{_NARROW}{shown}" if shown else text


def quantity_html(value: float | None, unit: str | None) -> Markup:
    """Like :func:`quantity`, the unit in a ``<span class="unit">``."""
    text, shown = _parts(value, unit)
    if not shown:
        return Markup.escape(text)
    return Markup('{}<span class="unit">{}{}</span>').format(text, _NARROW, shown)


def _parts(value: float | None, unit: str | None) -> tuple[str, str]:
    if value is None or math.isnan(value):
        return NOTHING, ""
    if unit == "share":
        text = percent(value)
        return text.removesuffix(f"{_NARROW}%"), "%"
    if unit == "dB" and math.isfinite(value):
        return f"{value:.2f}".replace("-", "−"), "dB"
    return number(value), "" if unit in (None, "index") else str(unit)


def _below_one(value: float) -> str:
    """0.99 < value < 1, cut off (never rounded up) after two digits of what is missing."""
    if 1 - value < 1e-7:
        return "0.9999999"
    decimals = 1 - math.floor(math.log10(1 - value))
    return _stripped(f"{math.floor(value * 10**decimals) / 10**decimals:.{decimals}f}")


def _stripped(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _grouped(text: str) -> str:
    return text if len(text) < 5 else f"{int(text):,}".replace(",", _NARROW)
