"""A run as one HTML file that needs nothing else to be opened."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from shallow2deep.io.atomic import write_text


@dataclass(frozen=True)
class Table:
    """Text for a table; the first column names the rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str


@dataclass(frozen=True)
class Report:
    """What the page shows; pictures are PNG files' bytes, the legend colours and names of strokes."""

    title: str
    subtitle: str
    recommended: str
    reason: str
    advice: Sequence[str]
    scores: Table
    panels: bytes
    panels_note: str
    legend: Sequence[tuple[str, str]]
    place_columns: Sequence[str]
    places: Sequence[Sequence[str]]
    disagreement: bytes
    disagreement_note: str
    curves: bytes | None
    made_with: Sequence[tuple[str, str]]
    settings: str


def save_report(path: Path, report: Report) -> Path:
    """Writes the page, whole or not at all; every text is escaped."""
    import jinja2  # slow to import

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("shallow2deep.evaluation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    values: dict[str, Any] = dict(vars(report))
    for name in ("panels", "disagreement", "curves"):
        picture = values[name]
        values[name] = base64.b64encode(picture).decode() if picture else ""
    write_text(path, environment.get_template("report.html").render(values))
    return path


def curves_picture(curves: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """Loss by step of each network, smoothed over a twentieth of its steps, as a PNG."""
    from matplotlib.figure import Figure  # slow to import

    fig = Figure(figsize=(9, 3.4), layout="constrained")
    axis = fig.subplots()
    for name, points in curves.items():
        steps, values = zip(*points, strict=True)
        width = max(1, len(values) // 20)
        parts = [values[max(0, i - width + 1) : i + 1] for i in range(len(values))]
        axis.plot(steps, [sum(part) / len(part) for part in parts], label=name, linewidth=1.4)
    axis.set_xlabel("step")
    axis.set_ylabel("training loss")
    axis.legend(frameon=False, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    buffer = BytesIO()
    fig.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
