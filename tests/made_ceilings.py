"""Ceilings made by hand, for tests that need round numbers or none at all."""

from minidl.bench import ceilings


def made() -> ceilings.Ceilings:
    """Two cores and nothing but memory."""
    memory = ceilings.Level("memory", 0, 2, {"one": 1, "all": 1}, {
        "one": {"read": 10.0, "write": 5.0, "copy": 8.0, "triad": 9.0, "update": 16.0},
        "all": {"read": 15.0, "write": 6.0, "copy": 12.0, "triad": 13.0, "update": 20.0},
    })  # fmt: skip
    peaks = {"float32": {"one": 100.0, "all": 200.0}, "float64": {"one": 50.0, "all": 100.0}, "int8": None}
    return ceilings.Ceilings("a processor", 2, 32, True, "", peaks, [memory], 1.0)
