"""Files that appear whole or not at all, with the reasons a file cannot be written put into words."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seqhdr.errors import FramesFailedError

__all__ = ["incomplete_file", "whole_file"]

_AGAIN = "make room and run again with --skip-existing"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a hidden name beside ``path`` to write under; sync the file and rename it to ``path`` at the end.

    The hidden name keeps the extension and is an empty file at first.  It is removed when the block raises,
    Ctrl-C included, so that a reader or a crash never meets half a file under the real name.
    Raises FramesFailedError, in one sentence, when the operating system refuses.
    """
    hidden = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        try:
            # Our own open tells why a file cannot be made; an image library often does not.
            os.close(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            yield hidden
            _sync(hidden)
            os.replace(hidden, path)
        except OSError as error:
            raise FramesFailedError(_refused(path, error)) from None
        if os.name == "posix":
            with suppress(OSError):  # some network file systems cannot sync folders; the file itself is safe
                _sync(path.parent)
    finally:
        # After a rename there is nothing left; before the first open there may be no folder either.
        with suppress(OSError):
            hidden.unlink()


def incomplete_file(path: Path, size: int, reason: str) -> FramesFailedError:
    """The error for a library that failed to write ``size`` bytes and gives no more than ``reason``."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        return FramesFailedError(f"{path}: the disk is full ({free // 2**20} MB free): {_AGAIN}.")
    lines = reason.strip().splitlines()
    return FramesFailedError(
        f"{path}: could not be written whole ({lines[0].rstrip('.') if lines else 'no reason given'}): "
        "check the quota and the disk, then run again with --skip-existing."
    )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(path: Path, error: OSError) -> str:
    folder = path.parent
    advice = {
        errno.ENOSPC: f"the disk is full: {_AGAIN}",
        errno.EDQUOT: f"the disk quota is used up: {_AGAIN}",
        errno.EACCES: f"no permission to write into {folder}: change its mode or choose another -o",
        errno.EPERM: f"no permission to write into {folder}: change its mode or choose another -o",
        errno.EROFS: f"{folder} is read-only: choose another -o",
        errno.ENOENT: f"the folder {folder} is not there: create it or choose another -o",
        errno.ENOTDIR: f"{folder} is not a folder: choose another -o",
        errno.EISDIR: "a folder has that name: remove it or choose another -o",
    }
    return f"{path}: {advice.get(error.errno or 0, f'cannot be written ({error.strerror}): choose another -o')}."
