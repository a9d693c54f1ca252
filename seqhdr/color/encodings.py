"""Colour spaces by name: the short names in closed form, everything else through OpenColorIO.

>>> get_encoding("ACEScct").primaries
'ap1'
"""

from __future__ import annotations

from seqhdr.color import ocio
from seqhdr.color.named import (
    ENCODING_NAMES,
    NAMED,
    ColorEncoding,
    convert_linear,
    primaries_matrix,
    same_curve,
)
from seqhdr.errors import UnknownNameError

__all__ = [
    "ENCODING_NAMES",
    "ColorEncoding",
    "convert_linear",
    "get_encoding",
    "primaries_matrix",
    "same_curve",
]


def get_encoding(name: str, ocio_config: str | None = None) -> ColorEncoding:
    """The encoding called ``name``: a short name in any case, or a colour space, alias or role of OCIO.

    Short names always mean the closed forms of this package, whatever the config says about such a name.
    Anything else is looked up in ``ocio_config`` (a path or ``ocio://`` name), else in the config that
    ``$OCIO`` names, else in the built-in ACES studio config.

    Raises :class:`~seqhdr.errors.UnknownNameError` with the nearest names where nobody knows the name,
    :class:`~seqhdr.errors.UsageError` where the space cannot be written as a curve and a matrix, and
    :class:`~seqhdr.errors.InputError` where the config cannot be read.
    """
    known = NAMED.get(name.strip().lower())
    if known is not None:
        return known
    config = ocio.load_config(ocio_config)
    if not ocio.has_space(config, name):
        raise UnknownNameError("colour space", name, (*ENCODING_NAMES, *ocio.space_names(config)))
    return ocio.ocio_encoding(name, config)
