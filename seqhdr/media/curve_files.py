"""Response curves as files: a small YAML, or a 1-D LUT (``.cube``, ``.spi1d``) that OpenColorIO reads as well.

All three hold the same samples, written so that reading them gives the same numbers. A LUT keeps method and confidence
in lines that other readers skip: comments of a ``.cube``, text after the closing brace of a ``.spi1d``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from seqhdr.color.response import ResponseCurve
from seqhdr.errors import InputError, UsageError
from seqhdr.media.atomic import whole_file

__all__ = ["CURVE_EXTENSIONS", "check_curve_name", "read_curve", "read_samples", "write_curve"]

CURVE_EXTENSIONS = (".yaml", ".yml", ".cube", ".spi1d")

_TITLE = "seqhdr response curve"
_NOTES = ("method", "confidence", "spread", "reason", "sources")
_LONGEST = 65536
_UNKNOWN = "the file does not say how it was made"

Array = NDArray[np.float64]
Notes = dict[str, Any]


def check_curve_name(path: str | Path) -> None:
    """Refuse a name whose extension is none of :data:`CURVE_EXTENSIONS` with a UsageError."""
    path = Path(path)
    if path.suffix.lower() not in CURVE_EXTENSIONS:
        raise UsageError(f"{path}: a response curve ends in {', '.join(CURVE_EXTENSIONS)}: name it so")


def write_curve(path: str | Path, curve: ResponseCurve) -> None:
    """Write a curve in the format of the extension, whole or not at all; the same curve makes the same bytes.

    Raises:
        UsageError: another extension.
        FramesFailedError: it cannot be written.
    """
    path = Path(path)
    check_curve_name(path)
    text = {".cube": _cube_text, ".spi1d": _spi1d_text}.get(path.suffix.lower(), _yaml_text)(curve)
    with whole_file(path) as hidden:
        hidden.write_text(text, encoding="utf-8")


def read_curve(path: str | Path) -> tuple[ResponseCurve, str]:
    """Read a curve, and the SHA-256 of its file in hexadecimal.

    A LUT of another tool is taken at its word: method ``table``, confidence ``high``.

    Raises:
        UsageError: another extension.
        InputError: it cannot be read, or is no response curve.
    """
    samples, notes, sha256 = _read(Path(path))
    return _curve(Path(path), samples, notes), sha256


def read_samples(path: str | Path) -> tuple[ResponseCurve, float]:
    """Read a table of any scale as a curve from 0 or more to 1, and the light its largest code had.

    All channels are divided by the same number; where they end at different light, each then still goes up to 1.
    Errors as of :func:`read_curve`.
    """
    samples, notes, _ = _read(Path(path))
    top = samples[-1] if len(samples) else np.ones(3)
    if not (np.isfinite(top).all() and (top > 0).all()):
        raise InputError(f"{path}: its largest code has no light: give a table that rises from 0")
    return _curve(Path(path), samples / top, notes), float(top.max())


def _read(path: Path) -> tuple[Array, Notes, str]:
    check_curve_name(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    try:
        text = data.decode("utf-8")
        parse = {".cube": _parse_cube, ".spi1d": _parse_spi1d}.get(path.suffix.lower(), _parse_yaml)
        samples, notes = parse(text)
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file: give a response curve") from None
    except ValueError as error:
        raise InputError(f"{path}: is no response curve: it {error}; write it anew with seqhdr calibrate") from None
    return samples, notes, hashlib.sha256(data).hexdigest()


def _curve(path: Path, samples: Array, notes: Notes) -> ResponseCurve:
    try:
        return ResponseCurve(
            samples,
            method=str(notes.get("method", "table")),
            confidence=str(notes.get("confidence", "high")),
            spread=float(notes.get("spread", 0.0)),
            reason=str(notes.get("reason", _UNKNOWN)),
            sources=tuple(str(name) for name in notes.get("sources", ())),
        )
    except (TypeError, ValueError) as error:
        why = f"it {error}" if isinstance(error, ValueError) else "its notes are of the wrong kind"
        raise InputError(
            f"{path}: is no response curve: {why}; scale a table with seqhdr calibrate --known, or make another"
        ) from None


def _notes(curve: ResponseCurve) -> Notes:
    values = (curve.method, curve.confidence, curve.spread, curve.reason, list(curve.sources))
    return dict(zip(_NOTES, values, strict=True))


def _yaml_text(curve: ResponseCurve) -> str:
    columns = {"r": curve.light[:, 0], "g": curve.light[:, 1], "b": curve.light[:, 2]}
    light = {n: v.tolist() for n, v in columns.items()} if curve.per_channel else {"rgb": columns["r"].tolist()}
    lines = [
        f"# {_TITLE}: linear light of code values evenly spaced from 0 to 1, straight lines between them.",
        yaml.safe_dump({"format": _TITLE, **_notes(curve)}, sort_keys=False, allow_unicode=True, width=100).rstrip(),
        "light:",
    ]
    lines += [f"  {name}: [{', '.join(map(_number, values))}]" for name, values in light.items()]
    return "\n".join(lines) + "\n"


def _parse_yaml(text: str) -> tuple[Array, Notes]:
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(read, dict) or read.get("format") != _TITLE or not isinstance(read.get("light"), dict):
        raise ValueError(f"does not say 'format: {_TITLE}' and 'light:'")
    light = read["light"]
    if set(light) not in ({"rgb"}, {"r", "g", "b"}):
        raise ValueError("has other curves under 'light:' than rgb, or r, g and b")
    columns = [light["rgb"]] * 3 if "rgb" in light else [light[name] for name in "rgb"]
    try:
        samples = np.array(columns, dtype=np.float64).T
    except (TypeError, ValueError):
        raise ValueError("holds something else than lists of numbers of one length") from None
    notes = {name: read[name] for name in _NOTES if name in read}
    if not isinstance(notes.get("sources", []), list):
        raise ValueError("has 'sources:' that are no list")
    return samples, notes


def _cube_text(curve: ResponseCurve) -> str:
    lines = [f"# {line}" for line in _note_lines(curve)]
    lines += [f'TITLE "{_TITLE}"', f"LUT_1D_SIZE {len(curve.light)}", "DOMAIN_MIN 0 0 0", "DOMAIN_MAX 1 1 1"]
    return "\n".join([*lines, *(" ".join(map(_number, row)) for row in curve.light)]) + "\n"


def _parse_cube(text: str) -> tuple[Array, Notes]:
    size: int | None = None
    rows: list[list[float]] = []
    comments = []
    for line in map(str.strip, text.splitlines()):
        words = line.split()
        if line.startswith("#"):
            comments.append(line.lstrip("# "))
        elif not words or words[0] == "TITLE":
            continue
        elif words[0] == "LUT_3D_SIZE":
            raise ValueError("holds a 3-D LUT, not a curve")
        elif words[0] == "LUT_1D_SIZE":
            size = _count(words[1:])
        elif words[0] in ("DOMAIN_MIN", "DOMAIN_MAX", "LUT_1D_INPUT_RANGE"):
            ends = {"DOMAIN_MIN": [0.0] * 3, "DOMAIN_MAX": [1.0] * 3}.get(words[0], [0.0, 1.0])
            if _floats(words[1:]) != ends:
                raise ValueError(f"has the {words[0]} {' '.join(words[1:])}, and only codes from 0 to 1 are read")
        else:
            rows.append(_floats(words))
    return _samples(rows, size, 3), _read_notes(comments)


def _spi1d_text(curve: ResponseCurve) -> str:
    rows = curve.light if curve.per_channel else curve.light[:, :1]
    lines = ["Version 1", "From 0.0 1.0", f"Length {len(rows)}", f"Components {rows.shape[1]}", "{"]
    lines += [" ".join(map(_number, row)) for row in rows]
    return "\n".join([*lines, "}", *_note_lines(curve)]) + "\n"


def _parse_spi1d(text: str) -> tuple[Array, Notes]:
    head, brace, rest = text.partition("{")
    body, closing, after = rest.partition("}")
    if not brace or not closing:
        raise ValueError("has no samples between braces")
    header = {words[0]: words[1:] for words in map(str.split, head.splitlines()) if words}
    if _floats(header.get("From", [])) != [0.0, 1.0]:
        raise ValueError("does not go 'From 0.0 1.0'")
    components = _count(header.get("Components", []))
    if components not in (1, 3):
        raise ValueError(f"has {components} components, not 1 or 3")
    rows = [_floats(line.split()) for line in body.splitlines() if line.strip()]
    return _samples(rows, _count(header.get("Length", [])), components), _read_notes(after.splitlines())


def _samples(rows: list[list[float]], size: int | None, components: int) -> Array:
    """(N, 3) of text rows, once they are as many and as wide as the header says."""
    if size is None:
        raise ValueError("does not say LUT_1D_SIZE")
    if len(rows) != size or any(len(row) != components for row in rows):
        raise ValueError(f"does not hold the {size} rows of {components} that its header promises")
    samples = np.array(rows, dtype=np.float64)
    return np.repeat(samples, 3, axis=1) if components == 1 else samples


def _note_lines(curve: ResponseCurve) -> list[str]:
    notes = _notes(curve) | {"sources": ", ".join(curve.sources), "spread": _number(curve.spread)}
    return [f"{name}: {' '.join(str(value).split())}" for name, value in notes.items() if value != ""]


def _read_notes(lines: Iterable[str]) -> Notes:
    notes: Notes = {}
    for line in lines:
        name, colon, value = line.strip().partition(":")
        if colon and name in _NOTES:
            notes[name] = value.strip()
    if "sources" in notes:
        notes["sources"] = notes["sources"].split(", ")
    return notes


def _floats(words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        raise ValueError(f"has the line '{' '.join(words)[:60]}', which is neither numbers nor known") from None


def _count(words: list[str]) -> int:
    if len(words) != 1 or not words[0].isdecimal() or not 1 <= int(words[0]) <= _LONGEST:
        raise ValueError(f"has a size of '{' '.join(words)}', expected a whole number up to {_LONGEST}")
    return int(words[0])


def _number(value: float) -> str:
    """The shortest decimal that reads back as the same float64; YAML 1.1 wants a dot before an exponent."""
    text = repr(float(value))
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
