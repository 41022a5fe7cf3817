"""Where the labels and measurements of objects are in a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shallow2deep.io.label_files import write_labels
from shallow2deep.io.tables import join_csv, write_csv

ALL = "objects.csv"


def paths_of(folder: Path, name: str, format_: str = "tif") -> tuple[Path, Path]:
    """Of the labels and the table of an image of that name."""
    return folder / f"{name}_objects.{format_}", folder / f"{name}_objects.csv"


def save_objects(
    folder: Path,
    name: str,
    labels: np.ndarray,
    table: Mapping[str, np.ndarray],
    voxel_size: Sequence[float] | None,
    format_: str = "tif",
) -> None:
    """Writes an image's labels and its table."""
    of_labels, of_table = paths_of(folder, name, format_)
    write_labels(of_labels, labels, voxel_size)
    write_csv(of_table, table)


def join_tables(folder: Path, names: Sequence[str]) -> Path:
    """Writes the tables of several images as one, which says of which image a row is."""
    join_csv(folder / ALL, {name: paths_of(folder, name)[1] for name in names}, "image")
    return folder / ALL
