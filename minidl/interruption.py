"""Ctrl-C during training: noted when it comes, acted on between two ranges of batches, so that nothing is half done."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading


class Interruption:
    """While it is entered, the first Ctrl-C waits for ``check`` or the end; a second one takes effect at once.

    ``when`` tells the one who pressed it when the waiting ends.
    """

    def __init__(self, when: str = "when this is finished"):
        self.when, self.came, self.before = when, False, None

    def __enter__(self) -> Interruption:
        # Signals belong to the main thread; and where a program handles them its own way, it keeps doing so.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self.before = signal.signal(signal.SIGINT, self.note)
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
        if kind is None:
            self.check()  # one that came after the last check is not lost

    def note(self, number: int, frame: object) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        with contextlib.suppress(RuntimeError, OSError):  # it came in the middle of printing, or nobody can be told
            print(f"\nstopping {self.when}; Ctrl-C again stops at once", file=sys.stderr, flush=True)

    def check(self) -> None:
        """Raise the KeyboardInterrupt that came meanwhile."""
        if self.came:
            raise KeyboardInterrupt
