"""An engine whose operations take and return NumPy arrays, so that one suite runs on every engine."""

import functools

import numpy as np

from minidl.contract import OPERATIONS


class Hosted:
    """The engine, with every operation's arrays brought to where it wants them, and everything it wrote back."""

    def __init__(self, engine):
        self.engine = engine

    def __getattr__(self, name):
        found = getattr(self.engine, name)
        return self.hosted(found) if name in OPERATIONS and self.engine.name == "cupy" else found

    def hosted(self, operation):
        @functools.wraps(operation)
        def run(*arguments, **numbers):
            placed = [self.engine.to_device(a) if type(a) is np.ndarray else a for a in arguments]
            result = operation(*placed, **numbers)
            for given, there in zip(arguments, placed, strict=True):
                if type(given) is np.ndarray:
                    given[...] = self.engine.to_host(there)
                    if result is there:
                        return given
            return result if result is None else self.engine.to_host(result)

        return run
