"""Files: written whole or not at all, and where one cannot be read or written, one sentence that says why."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A binary file to read from. Raises OSError (of the kind that fits) in one sentence where it cannot be read."""
    path = os.fsdecode(path)
    if not os.path.isfile(path):  # a pipe, for example, would keep us waiting
        if os.path.isdir(path):
            raise IsADirectoryError(f"cannot read {path!r}: it is a folder")
        if os.path.exists(path):
            raise OSError(f"cannot read {path!r}: it is no ordinary file")
        raise FileNotFoundError(f"cannot read {path!r}: there is no such file")
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise type(error)(f"cannot read {path!r}: {error.strerror or error}") from None


def replace(path: str | os.PathLike, content: bytes) -> None:
    """Put a file in place in one step: whoever reads it sees the old one or the new one, never half of it.

    Raises OSError (of the kind that fits) in one sentence; what was there before is then still there.
    """
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike, keep_as: str | None = None) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the place of ``path`` once all is written.

    Where that does not come to its end, nothing is left; or with ``keep_as``, what was written under this name.
    """
    target = writable(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".minidl-")
        try:
            with os.fdopen(handle, "wb") as file:
                os.chmod(temporary, mode_of(target))
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                if keep_as is not None and os.path.getsize(temporary):
                    os.replace(temporary, keep_as)
                else:
                    os.unlink(temporary)
            raise
    except OSError as error:
        if error.errno is None:  # it says already what was wrong
            raise
        raise type(error)(f"cannot write {os.fsdecode(path)!r}: {error.strerror}") from None


def refuse_ending(path: str | os.PathLike, ending: str, instead: str) -> None:
    """ValueError where the path ends as files of another format do; ``instead`` says what writes those."""
    if os.fsdecode(path).lower().endswith(ending):
        raise ValueError(f"{os.fsdecode(path)!r} has the ending of another format: {instead}")


def writable(path: str | os.PathLike) -> str:
    """The place that this path leads to (a link stays a link), once a file can be put there; else OSError.

    To be asked before work whose result is to be written.
    """
    path = os.fsdecode(path)
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path!r}: there is no folder {folder!r}")
    if os.path.isdir(target):
        raise IsADirectoryError(f"cannot write {path!r}: it is a folder; name a file")
    if os.path.exists(target) and not (os.path.isfile(target) and os.access(target, os.W_OK)):
        raise PermissionError(f"cannot write {path!r}: it exists and is no file that may be changed")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write {path!r}: nothing may be written into the folder {folder!r}")
    return target


def mode_of(target: str) -> int:
    """The rights of the file that is there, or those that a new one gets; mkstemp makes files for the owner alone."""
    return stat.S_IMODE(os.stat(target).st_mode) if os.path.exists(target) else 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
