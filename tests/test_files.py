"""A file is replaced whole or not at all, and where it cannot be, one sentence says why."""

import os
import stat

import pytest

from minidl import files


def test_file_is_replaced_whole_or_not_at_all(tmp_path):
    files.replace(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        files.replace(tmp_path / "file", "no bytes")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_nothing_is_left_behind_where_the_disk_fails(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    files.replace(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write '.*file': No space left on device"):
        files.replace(tmp_path / "file", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_name_as_long_as_names_can_be(tmp_path):
    files.replace(tmp_path / ("x" * 255), b"content")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
    with pytest.raises(OSError, match="cannot write"):
        files.replace(tmp_path / ("x" * 256), b"content")


def test_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    files.replace(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "file").read_bytes() == b"content"


def test_relative_path_and_usual_rights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        files.replace("file", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_what_cannot_be_written_to(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"cannot write '.*missing/file': there is no folder '.*missing'"):
        files.replace(tmp_path / "missing" / "file", b"")
    with pytest.raises(IsADirectoryError, match="it is a folder; name a file"):
        files.replace(tmp_path, b"")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PermissionError, match="no file that may be changed"):
        files.replace(tmp_path / "pipe", b"")
    files.replace(tmp_path / "locked", b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the administrator may write everywhere
    with pytest.raises(PermissionError, match="no file that may be changed"):
        files.replace(tmp_path / "locked", b"new")
    assert (tmp_path / "locked").read_bytes() == b"old"


def test_whether_a_file_can_be_written_is_known_beforehand(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert files.writable(tmp_path / "link") == str(tmp_path / "file")
    assert not (tmp_path / "file").exists()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="nothing may be written into the folder"):
        files.writable(tmp_path / "file")
