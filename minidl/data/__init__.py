"""Data in, arrays out: CSV files, the data set that is shipped, parting rows, and making more of them."""

from minidl.data import augment
from minidl.data.schema import Column, Schema, Target
from minidl.data.shipped import BREAST_CANCER, load_breast_cancer
from minidl.data.splitting import train_test_split
from minidl.data.tables import Table, read_chunks, read_csv

__all__ = [
    "BREAST_CANCER", "Column", "Schema", "Table", "Target", "augment", "load_breast_cancer", "read_chunks", "read_csv",
    "train_test_split",
]  # fmt: skip
