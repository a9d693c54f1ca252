"""Whatever goes wrong while a frame is written, the folder is as it was and one sentence says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from seqhdr.errors import FramesFailedError
from seqhdr.media.atomic import whole_file
from seqhdr.media.exr import complete_exr, write_exr

RGB = np.random.default_rng(1).random((128, 128, 3)).astype(np.float32)


def test_the_file_appears_whole(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.exr") as hidden:
        assert hidden.parent == tmp_path
        assert hidden.name.startswith(".a.exr.")
        assert hidden.name.endswith(".tmp.exr")
        hidden.write_text("new")
        assert not (tmp_path / "a.exr").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.exr"]
    assert (tmp_path / "a.exr").read_text() == "new"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_the_old_file_stays_when_writing_is_broken_off(tmp_path: Path, failure: type[BaseException]) -> None:
    (tmp_path / "a.exr").write_text("old")

    def broken_off() -> None:
        with whole_file(tmp_path / "a.exr") as hidden:
            hidden.write_text("half")
            raise failure

    with pytest.raises(failure):
        broken_off()
    assert [p.name for p in tmp_path.iterdir()] == ["a.exr"]
    assert (tmp_path / "a.exr").read_text() == "old"


def test_no_folder_no_permission_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FramesFailedError, match=r"the folder .*gone is not there: create it"):
        write_exr(tmp_path / "gone" / "a.exr", {"RGB": RGB})
    (tmp_path / "file").touch()
    with pytest.raises(FramesFailedError, match="is not a folder"):
        write_exr(tmp_path / "file" / "a.exr", {"RGB": RGB})
    (tmp_path / "b.exr").mkdir()
    with pytest.raises(FramesFailedError, match="a folder has that name"):
        write_exr(tmp_path / "b.exr", {"RGB": RGB}, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.exr", "file"]


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(FramesFailedError, match=r"no permission to write into .*-o") as caught:
        write_exr(tmp_path / "a.exr", {"RGB": RGB})
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("fill", [0, 200, 256])
def test_a_full_disk_keeps_finished_frames_and_leaves_no_half_one(tiny_disk: Path, fill: int) -> None:
    small = RGB[:8, :8].astype(np.float16)
    if fill < 256:
        write_exr(tiny_disk / "a.1001.exr", {"RGB": small})
    with suppress(OSError):  # as full as it gets
        (tiny_disk / "fill").write_bytes(b"x" * fill * 1024)
    before = sorted(p.name for p in tiny_disk.iterdir())
    with pytest.raises(FramesFailedError, match=r"a\.1002\.exr: the disk is full.*--skip-existing\.$"):
        write_exr(tiny_disk / "a.1002.exr", {"RGB": np.tile(RGB, (2, 2, 1))}, compression="none")
    assert sorted(p.name for p in tiny_disk.iterdir()) == before
    if fill < 256:
        assert complete_exr(tiny_disk / "a.1001.exr")


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    setup = f"""
        import numpy as np, os, resource, signal, sys
        from pathlib import Path
        from seqhdr.errors import FramesFailedError
        from seqhdr.media.exr import write_exr
        rgb = np.random.default_rng(1).random((256, 256, 3)).astype(np.float32)
        path = Path({str(folder)!r}) / "a.exr"
    """
    program = textwrap.dedent(setup) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.skipif(os.name != "posix", reason="file size limits are a POSIX matter")
def test_a_quota_cuts_no_file_in_half(tmp_path: Path) -> None:
    ran = run(
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            write_exr(path, {"RGB": rgb})
        except FramesFailedError as error:
            print(error)
        """,
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert "could not be written whole" in ran.stdout
    assert "check the quota" in ran.stdout
    assert ran.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals are a POSIX matter")
def test_ctrl_c_leaves_whole_frames_only(tmp_path: Path) -> None:
    ran = run(
        """
        # A shell's background jobs, and all they start, ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.25)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        frame = 0
        while True:
            frame += 1
            write_exr(path.with_name(f"a.{frame:04d}.exr"), {"RGB": rgb})
        """,
        tmp_path,
    )
    assert ran.returncode == -signal.SIGINT, ran.stderr
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names
    assert not [n for n in names if n.startswith(".")]
    assert all(complete_exr(tmp_path / n) for n in names)
