"""Asking the C library to keep freed pages, where there is one that listens."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from seqhdr.model import heap


def test_glibc_takes_the_settings() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    # In a process of its own: the settings last.
    code = "from seqhdr.model.heap import keep_heap_pages; print(keep_heap_pages())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("library", [("musl", "1.2.4"), ("", "")])
def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch, library: tuple[str, str]) -> None:
    def never(name: str) -> None:
        raise AssertionError(f"opened {name}")

    monkeypatch.setattr(heap.platform, "libc_ver", lambda: library)
    monkeypatch.setattr(heap.ctypes, "CDLL", never)
    assert heap.keep_heap_pages() is False
