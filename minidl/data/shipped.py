"""The data set that is shipped with minidl."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BREAST_CANCER = Path(__file__).parent.parent / "datasets" / "breast_cancer.csv"


def load_breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    """The Wisconsin diagnostic data: X float32 (569, 30), y float32 (569, 1) with 1 for benign and 0 for malignant.

    Source and licence are in ``minidl/datasets/README.md``; the labels are those of scikit-learn. The file itself is
    ``minidl.data.BREAST_CANCER``.
    """
    table = np.loadtxt(BREAST_CANCER, delimiter=",", skiprows=1, dtype=np.float32)
    return np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1:])
