"""Files."""

from __future__ import annotations

import os
import tempfile


def check_writable(path: str | os.PathLike) -> None:
    """OSError, in one sentence, where a file cannot be written there: found out before long work and not after it."""
    path = os.fsdecode(path)
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path!r}: there is no folder {folder!r}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write {path!r}: it is a folder; name a file")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(f"cannot write {path!r}: {error.strerror}") from None
