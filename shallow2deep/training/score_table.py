"""What each validation of a training found, as a table and as charts."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from shallow2deep.io.atomic import atomic_path, write_text

NAME = "validations.csv"


class ScoreTable:
    """A table with a row for each validation, whole after each; a call that goes on adds to it.

    Args:
        folder: gets `validations.csv`, and a PNG for each of its columns.
        step: rows of later steps are left out.
    """

    def __init__(self, folder: Path, step: int):
        self._folder = folder
        self._rows: list[dict[str, str]] = []
        path = folder / NAME
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a validation."""
        self._rows.append({"step": str(step), **{name: f"{value:.6f}" for name, value in values.items()}})
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self._rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._folder / NAME, out.getvalue())

    def draw(self) -> None:
        """Draws each column by step."""
        from matplotlib.figure import Figure  # slow to import

        for name in list(self._rows[0])[1:] if self._rows else []:
            fig = Figure((4.5, 3), layout="constrained")
            axis = fig.subplots()
            steps, found = ([float(row[column]) for row in self._rows] for column in ("step", name))
            axis.plot(steps, found, marker=".")
            axis.set_xlabel("step")
            axis.set_ylabel(name)
            with atomic_path(self._folder / f"{name}.png") as path:
                fig.savefig(path, format="png", dpi=110, metadata={"Software": None})
