"""LambdaCallback: functions in the place of a class."""

from __future__ import annotations

from collections.abc import Callable

from minidl.callbacks.base import HOOKS, Callback
from minidl.checks import did_you_mean, shown


class LambdaCallback(Callback):
    """A callback made of functions, each by the name of its hook; any hook of ``Callback`` can be given.

    They are called with the hook's arguments without self: ``on_epoch_end=lambda epoch, logs: ...``,
    ``on_train_begin=lambda logs: ...``. Raises TypeError for a name that is no hook and for what cannot be called.
    """

    def __init__(
        self,
        on_epoch_begin: Callable | None = None,
        on_epoch_end: Callable | None = None,
        on_train_begin: Callable | None = None,
        on_train_end: Callable | None = None,
        on_train_batch_begin: Callable | None = None,
        on_train_batch_end: Callable | None = None,
        **others: Callable | None,
    ):
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **others,
        }
        for hook, function in hooks.items():
            if hook not in HOOKS:
                raise TypeError(f"LambdaCallback has no hook {hook!r}; {did_you_mean(hook, HOOKS)}")
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"{hook} must be a function, not {shown(function)}")
            setattr(self, hook, function)
