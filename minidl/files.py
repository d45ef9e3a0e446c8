"""Writing files: whole or not at all, and where that cannot be, one sentence that says why."""

from __future__ import annotations

import contextlib
import os
import tempfile


def replace(path: str | os.PathLike, content: bytes) -> None:
    """Put a file in place in one step: whoever reads it sees the old one or the new one, never half of it.

    Raises OSError (of the kind that fits) in one sentence; what was there before is then still there.
    """
    target = writable(path)
    try:
        write_beside(target, content)
    except OSError as error:
        raise type(error)(f"cannot write {os.fsdecode(path)!r}: {error.strerror or error}") from None


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


def write_beside(target: str, content: bytes) -> None:
    """Write a temporary file in the target's folder and give it the target's name once it is on the disk."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".minidl-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~umask())  # mkstemp makes files for the owner's eyes only
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
