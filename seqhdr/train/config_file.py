"""Configurations from YAML: files that stand on one another, and single keys on top of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from seqhdr.errors import InputError, UnknownNameError, UsageError
from seqhdr.train.config import SceneConfig, TrainConfig

__all__ = ["build_config", "read_yaml", "set_keys"]

T = TypeVar("T")
# What is merged key by key; tables of shares are replaced whole.
_SECTIONS = frozenset(f.name for kind in (TrainConfig, SceneConfig) for f in dataclasses.fields(kind))


class _Loader(yaml.SafeLoader):
    """YAML whose ``on``, ``off``, ``yes`` and ``no`` are words, as since YAML 1.2: ``compile`` is ``off``."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    letter: [(tag, shape) for tag, shape in shapes if tag != _BOOLEAN]
    for letter, shapes in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file and what it stands on: the key ``base`` names a file, relative to this one.

    Raises:
        InputError: a file cannot be read, holds no mapping, or stands on itself.
    """
    return _read_yaml(path, ())


def _read_yaml(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        raise InputError(f"{path}: its base stands on itself: take out one base")
    try:
        text = yaml.load(path.read_text(), _Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise InputError(f"{path}: is not YAML ({where}): mend that line") from error
    if not isinstance(text, dict):
        raise InputError(f"{path}: holds no keys: start from one of configs/train")
    base = text.pop("base", None)
    return text if base is None else _merge(_read_yaml(path.parent / str(base), (*above, path.resolve())), text)


def set_keys(text: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Put ``section.key=value`` on top; values are YAML.

    Raises:
        UsageError: an assignment without ``=``, or a value that is not YAML.
    """
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {assignment}: write it as section.key=value, like train.lr=5e-5")
        try:
            parsed: Any = yaml.load(value, _Loader)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {assignment}: the value is not YAML: quote it") from error
        for part in reversed(name.strip().split(".")):
            parsed = {part: parsed}
        text = _merge(text, parsed)
    return text


def build_config(kind: type[T], text: dict[str, Any], origin: str) -> T:
    """Turn keys into a configuration.

    Args:
        kind: one of the classes of :mod:`seqhdr.train.config`.
        text: nested keys.
        origin: the file's name, for messages.

    Raises:
        UsageError: a key nobody knows, a key that is missing, or a value of the wrong kind.
    """
    _known_keys(kind, text, "")
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise UsageError(f"{origin}: the key {place} is missing: add it, or --set {place}=...") from error
        raise UsageError(f"{origin}: {place} is {first['input']!r}: {first['msg'].lower()}") from error


def _known_keys(kind: Any, text: dict[str, Any], prefix: str) -> None:
    hints = get_type_hints(kind)
    for key, value in text.items():
        if key not in hints:
            near = [prefix + name for name in hints]
            raise UnknownNameError("configuration key", f"{prefix}{key}", near)
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, dict):
            _known_keys(hints[key], value, f"{prefix}{key}.")


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` on top of ``below``, section by section; tables of shares are replaced whole."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        sections = isinstance(old, dict) and isinstance(value, dict) and key in _SECTIONS
        merged[key] = _merge(old, value) if sections and old is not None else value
    return merged
