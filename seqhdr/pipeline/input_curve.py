"""The response curve that a user gives for the source: how it changes what codes mean, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqhdr.color.encodings import ColorEncoding
from seqhdr.color.response import ResponseCurve, curve_encoding
from seqhdr.errors import UsageError
from seqhdr.media.curve_files import read_curve

__all__ = ["InputCurve", "check_header_curve", "load_input_curve"]

_NAME, _SHA256 = "seqhdr:input_curve", "seqhdr:input_curve_sha256"


@dataclass(frozen=True)
class InputCurve:
    """A curve from a file: its samples, the file's name without folders, and the SHA-256 of its bytes."""

    curve: ResponseCurve
    name: str
    sha256: str

    def on(self, base: ColorEncoding) -> ColorEncoding:
        """The encoding whose curve is this one, and whose primaries are those of ``base``."""
        return curve_encoding(self.curve, base)

    @property
    def attributes(self) -> dict[str, str]:
        """What a written frame's header says of it."""
        return {_NAME: self.name, _SHA256: self.sha256}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know before trusting the result; usually nothing."""
        said = []
        if self.curve.confidence == "low":
            said.append(f"{self.name}: the response curve is of low confidence: {self.curve.reason}")
        if self.curve.per_channel:
            apart = float((self.curve.light.max(axis=1) - self.curve.light.min(axis=1)).max())
            said.append(
                f"{self.name}: R, G and B have curves of their own, up to {100 * apart:.1f} % of light apart; "
                "their mean is used for all three"
            )
        return tuple(said)


def load_input_curve(path: str | None) -> InputCurve | None:
    """The curve in a file; None for None.

    Raises:
        UsageError: the file is of no format for curves.
        InputError: it cannot be read, or is no response curve.
    """
    if path is None:
        return None
    curve, sha256 = read_curve(path)
    return InputCurve(curve, Path(path).name, sha256)


def check_header_curve(attributes: Mapping[str, Any], given: InputCurve | None, path: Path) -> None:
    """Refuse to judge a frame by another curve than the one it was made with.

    Args:
        attributes: its header.
        given: what the user names.
        path: of the frame, for the message.

    Raises:
        UsageError: the header names a curve, and this is none or another.
    """
    name, sha256 = attributes.get(_NAME), str(attributes.get(_SHA256))
    if name is None:
        return
    wanted = f"{path}: was made with the response curve {name} (SHA-256 {sha256[:12]}…)"
    if given is None:
        raise UsageError(f"{wanted}: name that file with --input-curve")
    if given.sha256 != sha256:
        raise UsageError(f"{wanted}, and {given.name} is another ({given.sha256[:12]}…): name the one it was made with")
