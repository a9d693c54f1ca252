"""Numbers as a person would write them: no more digits than matter, and never 100 % of what is not all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

__all__ = ["NOTHING", "amount", "difference", "number", "percent", "quantity", "quantity_html", "shortened"]

#: Stands for what could not be measured.
NOTHING = "–"

_NARROW = "\u202f"  # a narrow space that does not break
_LEAST = 1e-6
#: Decimals beyond which a number of a unit is noise.
_DECIMALS = {"stop": 4, "px": 3}


def amount(value: float | None, unit: str | None) -> str:
    """:func:`quantity` without the unit."""
    return _parts(value, unit)[0]


def difference(value: float | None, unit: str | None) -> str:
    """A signed difference as people say it: ``0.0017 stop less``, ``0.0017 stop more``, ``the same``."""
    if value is None or math.isnan(value):
        return NOTHING
    if not amount(abs(value), unit).strip("0."):
        return "the same"
    return f"{quantity(abs(value), unit)} {'less' if value < 0 else 'more'}"


def number(value: float | None) -> str:
    """Three significant digits, two below 0.001; whole numbers as they are, in groups of three from 10 000 on.

    Just below 1 there are as many digits as it takes to see what is missing, so that 0.99982 is not 1.

    Args:
        value: anything; None and NaN become :data:`NOTHING`.
    """
    return _number(value, None)


def _number(value: float | None, most: int | None) -> str:
    """:func:`number` with so many decimals at most; what is less than they can show reads 0.0000."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    sign, size = "−" if value < 0 else "", abs(float(value))
    if size == 0:
        return "0"
    if most is not None and 2 * size < 10.0**-most:
        return f"{0:.{most}f}"
    if size < _LEAST:
        return f"<{_NARROW}{sign}0.000001" if not sign else f">{_NARROW}−0.000001"
    if size == int(size) or size >= 999.5:
        return sign + _grouped(f"{size:.0f}")
    if 0.99 < size < 1:
        return sign + _below_one(size)
    digits = 3 if size >= 0.001 else 2
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
    decimals = decimals if most is None else min(decimals, most)
    return sign + _stripped(f"{size:.{decimals}f}")


def percent(share: float | None) -> str:
    """A share 0 .. 1 in per cent, three decimals at most.

    What is not all is rounded away from 100 %, what is not nothing from 0 %.
    """
    if share is None or math.isnan(share):
        return NOTHING
    if 0 < share < 1e-5:
        return f"<{_NARROW}0.001{_NARROW}%"
    if 0.99 < share < 1:
        # As many digits as it takes to see what is missing, cut off rather than rounded up.
        missing = 100 * (1 - share)
        decimals = min(max(1 - math.floor(math.log10(missing)), 1), 3)
        shown = min(math.floor(share * 100 * 10**decimals + 1e-6) / 10**decimals, 100 - 10.0**-decimals)
        return f"{_stripped(f'{shown:.{decimals}f}')}{_NARROW}%"
    return f"{_number(100 * share, 3)}{_NARROW}%"


def quantity(value: float | None, unit: str | None) -> str:
    """A number with its unit: ``share`` is written in per cent, ``dB`` with two decimals, ``index`` has no unit.

    A ``stop`` has four decimals at most, a ``px`` three: what is less reads 0.0000, what is nothing 0.
    """
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
    return _number(value, _DECIMALS.get(unit or "")), "" if unit in (None, "index") else str(unit)


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


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Names without their middles where they are long, as few letters longer as it takes to tell them apart.

    Args:
        names: different from each other.
        most: letters a name may have, if that tells it from the others.
    """
    longest = max(map(len, names), default=0)
    for room in range(most, longest + 1):
        short = [_without_middle(name, room) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)


def _without_middle(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    begin = most // 2
    return f"{name[:begin]}…{name[len(name) - (most - 1 - begin) :]}"
