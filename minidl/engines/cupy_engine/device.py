"""The one place that reaches for CuPy: the module ``xp``, and the way of an array to the GPU and back."""

from __future__ import annotations

import importlib


class ArrayModule:
    """CuPy, imported when something of it is first used, so that this engine's files can be read without it.

    Another ``module`` with NumPy's functions can be put in its place, which is how the tests check the arithmetic on
    machines without a GPU.
    """

    def __init__(self):
        self.module = None

    def __getattr__(self, name: str):
        """Called for a name that is not here yet; what is found is kept, so that it is looked up once."""
        if name.startswith("__"):
            raise AttributeError(name)  # Python's own questions to any object are no reason to import CuPy
        if self.module is None:
            self.module = importlib.import_module("cupy")
        found = getattr(self.module, name)
        setattr(self, name, found)
        return found


xp = ArrayModule()


def to_device(array):
    """A copy on the GPU of a NumPy array."""
    return xp.asarray(array)


def to_host(array):
    """A NumPy copy of an array on the GPU, once everything that is still to be written into it has been."""
    return xp.asnumpy(array)


def synchronize():
    """Wait until the GPU has done all that it was given; it is given work faster than it does it."""
    xp.cuda.get_current_stream().synchronize()
