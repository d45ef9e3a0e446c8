"""How engines and rivals look wherever they are shown: a colour each, and a marker, line and hatch that do without it.

The colours are as far from white as from black, so that they are read on either. Nothing is loaded for them.
"""

from __future__ import annotations

ENGINES = {"numpy": "#2f7fc1", "numba": "#d9541e", "cupy": "#2a9d5c"}
ON_DARK = {"numpy": "#6cb4ee", "numba": "#ff9a62", "cupy": "#5fd093"}  # brighter, where the paper is known to be dark
GREY = "#808285"  # of what is said softly

# Colour, marker, line and hatch by name; others get theirs by turns.
LOOKS = {
    "numpy": (ENGINES["numpy"], "s", "-", ""),
    "numba": (ENGINES["numba"], "o", "-", "//"),
    "minidl": (ENGINES["numba"], "o", "-", "//"),
    "cupy": (ENGINES["cupy"], "^", "-", "xx"),
    "scipy": ("#7f8896", "d", "--", ""),
    "pytorch": ("#c2185b", "D", "--", ".."),
    "pytorch-compiled": ("#c2185b", "p", ":", "**"),
    "jax": ("#7b3fb5", "P", "--", "++"),
    "keras": ("#b58900", "X", "--", "oo"),
    "scikit-learn": ("#00838f", "v", "--", "||"),
    "onnxruntime": ("#5d4037", "<", "--", "--"),
    "onnxruntime-float32": ("#5d4037", ">", ":", ""),
    "minidl-float32": (ENGINES["numba"], "h", "--", ""),
}
LOOKS["sklearn"] = LOOKS["scikit-learn"]
OTHERS = (("#5a6472", "d", "-", ""), ("#c060c8", "v", "--", "\\\\"), ("#6f7f1e", "P", "-.", ".."),
          ("#4a5ad8", "X", ":", "++"), ("#b5483f", "<", "-", "||"), ("#96744f", ">", "--", "oo"))  # fmt: skip


def look(name: str, place: int = 0) -> tuple[str, str, str, str]:
    """Colour, marker, line and hatch of what is called so, or begins with an engine's or a rival's name."""
    word, *_ = name.lower().replace("minidl ", "").split() or [""]
    return LOOKS.get(word.strip(",:")) or OTHERS[place % len(OTHERS)]
