"""Tables as CSV files."""

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from shallow2deep.io.atomic import write_text


def write_csv(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Writes columns of one length, whole or not at all; a header alone where they are empty.

    Numbers have seven digits; what is not known (nan) is an empty cell.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    writer.writerows([_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if value != value else f"{value:.7g}"
    return value


def join_csv(path: Path, parts: Mapping[str, Path], what: str) -> None:
    """Writes the rows of several CSV files as one, with a first column `what` that holds the parts' names.

    Columns are those of all parts together; where a part has not one, cells are empty.
    """
    rows: list[dict[str, str]] = []
    columns = {what: None}
    for name, part in parts.items():
        with part.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns |= dict.fromkeys(reader.fieldnames or ())
            rows += [{what: name, **row} for row in reader]
    text = StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
