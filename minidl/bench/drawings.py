"""Drawings of ideas that are seen sooner than read: a product by tiles, and how its matrices are packed."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minidl.plots import LIGHT, Picture, theme

LEFT, TOP, HELD = "#2f7fc1", "#b8860b", LIGHT.engines["numba"]  # what comes from x, from W, and what stays in registers
QUIET = "#eef1f5"


def of_tile(rows: int, lanes: int, registers: int) -> Picture:
    """A tile of ``rows`` by 2 vectors of ``lanes`` numbers: where it lies, what a step does, and how W is packed."""
    with theme(LIGHT):
        figure = Picture(figsize=(12.6, 4.9), dpi=110, layout="constrained")
        product, step, packed = figure.subplots(1, 3, width_ratios=(1.05, 1, 1))
        in_the_product(product)
        one_step(step, rows, lanes, registers)
        packing(packed)
    return figure


def in_the_product(axes: Axes) -> None:
    """x beside y, W above y, and the tile where a strip of one meets a strip of the other."""
    x, W, y = (0, 0, 7, 6), (8, 7, 6, 7), (8, 0, 6, 6)  # left, bottom, width, height
    for where, name in ((x, "x"), (W, "W"), (y, "y")):
        box(axes, *where, QUIET, edge="#b9c1cc")
        axes.text(where[0] + 0.25, where[1] + where[3] - 0.25, name, va="top", fontsize=13, fontweight="bold")
    box(axes, 0, 2, 7, 1.6, LEFT, alpha=0.35)
    box(axes, 10, 7, 2, 7, TOP, alpha=0.35)
    box(axes, 10, 2, 2, 1.6, HELD)
    box(axes, 3, 2, 0.45, 1.6, LEFT)
    box(axes, 10, 10.5, 2, 0.45, TOP)
    axes.text(3.5, 4.1, "inner dimension k", ha="center", fontsize=9)
    arrow(axes, (1.2, 3.8), (5.8, 3.8))
    axes.text(7.4, 10.7, "k", ha="center", fontsize=9)
    arrow(axes, (7.7, 13.4), (7.7, 7.6))
    axes.text(3.2, 1.35, "a column of it\nin each step", ha="center", va="top", fontsize=8.5, color=LEFT)
    axes.text(14.2, 10.7, "a row of it\nin each step", va="center", fontsize=8.5, color="#8a6508")
    axes.text(11, 1.35, "stays in registers\nfor all k", ha="center", va="top", fontsize=8.5, color=HELD)
    axes.set_title("1  A tile of y")
    bare(axes, (-0.3, 17.5), (-0.6, 14.2))


def one_step(axes: Axes, rows: int, lanes: int, registers: int) -> None:
    """Every entry of the column by both vectors of the row."""
    high, wide, gap = 0.8, 2.7, 0.25
    for row in range(rows):
        below = (rows - 1 - row) * high
        box(axes, 0, below, 0.9, high - 0.12, LEFT)
        for v in (0, 1):
            box(axes, 2 + v * (wide + gap), below, wide, high - 0.12, HELD)
    for v in (0, 1):
        box(axes, 2 + v * (wide + gap), rows * high + 0.45, wide, high - 0.12, TOP)
        axes.text(2 + v * (wide + gap) + wide / 2, rows * high + 0.75, f"{lanes} of W", ha="center", va="center",
                  color="white", fontsize=9)  # fmt: skip
    axes.text(0.45, rows * high + 0.2, f"{rows}\nof x", ha="center", va="bottom", fontsize=9, color=LEFT)
    axes.text(1.45, rows * high / 2, "×", ha="center", va="center", fontsize=14)
    top = rows * high + 2.6
    axes.set_title("2  A step of k")
    words = f"{rows} + 2 loads for {2 * rows} multiply-adds of {lanes} numbers each"
    axes.text(0, top, words, fontsize=9, va="top")
    words = f"{2 * rows} sums + 2 of W + 1 of x: {2 * rows + 3} of {registers} registers"
    axes.text(0, -0.35, words, fontsize=9, va="top", color=HELD)
    bare(axes, (-0.3, 8), (-1.2, top + 0.1))


def packing(axes: Axes) -> None:
    """The order in which the tile reads W: across its rows as it lies, and in one piece once it is packed."""
    columns, rows = 6, 5
    for r in range(rows):
        for c in range(columns):
            mine = c in (2, 3)
            box(axes, c, 5.4 - r, 0.9, 0.85, TOP if mine else QUIET, edge="white")
            if mine:
                axes.text(c + 0.45, 5.82 - r, str(2 * r + c - 2), ha="center", va="center", color="white", fontsize=9)
    words = "each step jumps to\nanother line of the\ncache, and soon to\nanother page"
    axes.text(6.2, 4, words, va="center", fontsize=8.5)
    arrow(axes, (3.3, 1.15), (3.3, 0.55))
    axes.text(3.6, 0.85, "packed", va="center", fontsize=9)
    for place in range(2 * rows):
        box(axes, place * 0.92, -0.55, 0.84, 0.85, TOP, edge="white")
        axes.text(place * 0.92 + 0.42, -0.13, str(place), ha="center", va="center", color="white", fontsize=9)
    axes.text(0, -0.95, "one after the other: the processor sees where\nit is going, and fetches ahead", va="top",
              fontsize=8.5)  # fmt: skip
    axes.set_title("3  Packing W")
    axes.text(0, 7.2, "the strip as it lies in W, in the order of its use", fontsize=9, va="top")
    bare(axes, (-0.3, 10), (-2.3, 7.4))


def box(axes: Axes, left: float, bottom: float, width: float, height: float, colour: str, *, edge: str = "none",
        alpha: float = 1.0) -> None:  # fmt: skip
    axes.add_patch(Rectangle((left, bottom), width, height, fc=colour, ec=edge, alpha=alpha, lw=1))


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": LIGHT.ink, "lw": 1})


def bare(axes: Axes, across: tuple[float, float], up: tuple[float, float]) -> None:
    axes.set(xlim=across, ylim=up)
    axes.set_axis_off()


def of_gpu() -> Picture:
    """Grid, blocks, warps and lanes, each with the memory that it shares and how its threads wait for each other."""
    rows = (
        ("a grid: all blocks", 12, "large memory", "all blocks", "the end of a launch", LIGHT.engines["cupy"]),
        ("a block: some warps", 8, "shared memory", "the block's threads", "__syncthreads()", LEFT),
        ("a warp: 32 lanes", 32, "each other's registers", "the warp's lanes", "they step together", TOP),
        ("a lane, or thread", 1, "registers", "itself", "", HELD),
    )
    with theme(LIGHT):
        figure = Picture(figsize=(11.2, 3.4), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for place, head in ((0, ""), (11.2, "memory"), (15.2, "seen by"), (19.6, "who waits")):
            axes.text(place, 4.35, head, fontsize=9.5, fontweight="bold", va="bottom")
        for line, (name, count, memory, seen, wait, colour) in enumerate(rows):
            below = 3.3 - line
            axes.text(0, below + 0.35, name, va="center", fontsize=10)
            wide = 6.2 / max(count, 8)
            for number in range(count):
                box(axes, 4.4 + number * wide, below, wide * 0.82, 0.7, colour)
            for left, words in ((11.2, memory), (15.2, seen), (19.6, wait)):
                axes.text(left, below + 0.35, words, va="center", fontsize=9.5,
                          family="monospace" if "()" in words else None)  # fmt: skip
        bare(axes, (-0.2, 24), (0, 5))
    return figure
