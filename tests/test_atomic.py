"""Files are the old one or the new one, never a part, whatever happens."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from cnnfast._atomic import atomic_write, check_writable


def test_writes_and_replaces(tmp_path):
    for text in ("first", "second"):
        with atomic_write(tmp_path / "a.txt") as temporary:
            assert temporary.parent == tmp_path and temporary.stat().st_size == 0
            temporary.write_text(text)
            assert not (tmp_path / "a.txt").exists() or (tmp_path / "a.txt").read_text() == "first"
        assert (tmp_path / "a.txt").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(errno.ENOSPC, "full")])
def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises((ValueError, KeyboardInterrupt, OSError)), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_disk_full_at_every_step(tmp_path, monkeypatch, step):
    (tmp_path / "a.txt").write_text("old")

    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="disk full"), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_permissions(tmp_path):
    previous = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a.txt"):
            pass
    finally:
        os.umask(previous)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    (tmp_path / "a.txt").chmod(0o604)
    with atomic_write(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o604


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with atomic_write(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"


def test_longest_name(tmp_path):
    name = "x" * 255
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("whole")
    assert (tmp_path / name).read_text() == "whole"


@pytest.mark.parametrize("check", [check_writable, lambda path: atomic_write(path).__enter__()])
def test_places_that_cannot_be_written(tmp_path, check):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for path, error in (
        (tmp_path, IsADirectoryError),
        (tmp_path / "none" / "a", FileNotFoundError),
        (tmp_path / "file" / "a", NotADirectoryError),
        (tmp_path / ("x" * 256), OSError),
        (tmp_path / "pipe", OSError),
        ("/proc/a", OSError),
        ("/dev/null", OSError),
    ):
        with pytest.raises(error) as caught:
            check(path)
        assert caught.value.strerror and caught.value.filename
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pipe"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_no_permission(tmp_path):
    (tmp_path / "a").write_text("")
    (tmp_path / "a").chmod(0o400)
    with pytest.raises(PermissionError):
        check_writable(tmp_path / "a")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        check_writable(tmp_path / "b")


def test_check_writable_touches_nothing(tmp_path):
    (tmp_path / "a").write_text("old")
    before = (tmp_path / "a").stat().st_mtime_ns
    check_writable(tmp_path / "a")
    check_writable(tmp_path / "b")
    assert (tmp_path / "a").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_killed_while_writing(tmp_path):
    """A writer killed without warning, many times over, never leaves anything but a whole file under the name."""
    program = (
        "import sys, itertools\n"
        "from cnnfast._atomic import atomic_write\n"
        "for i in itertools.count():\n"
        "    with atomic_write(sys.argv[1]) as temporary:\n"
        "        with open(temporary, 'w') as file:\n"
        "            for _ in range(200):\n"
        "                file.write(f'{i:09d}\\n' * 100)\n"
    )
    target = tmp_path / "a.txt"
    for delay in (0.0, 0.01, 0.03):
        process = subprocess.Popen([sys.executable, "-c", program, str(target)])
        while not target.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines = target.read_text().split()
        assert len(lines) == 20_000 and len(set(lines)) == 1
        target.unlink()
