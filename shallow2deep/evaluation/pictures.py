"""Pictures for people: one row per image, one column per step of the way."""

from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.segmentation import find_boundaries

from shallow2deep.io.atomic import atomic_path, write_bytes
from shallow2deep.outputs import IGNORED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASS_COLOURS = ("#ffb000", "#00a0ff", "#dc267f", "#43d000", "#8050ff", "#ffffff")  # of strokes and maps
_COLUMN = 2.6  # inches
_MARGIN, _GAP = 0.12, 0.02  # of a column
STROKES, OUTLINES, INSTANCES = "strokes", "outlines", "objects"


def save_panel(path: Path, rows: Sequence[Mapping[str, np.ndarray]], captions: Sequence[str] = ()) -> Path:
    """Writes a PNG with a row of pictures for each image.

    Args:
        rows: for each image its pictures by title; "raw" `(y, x)` is stretched to its own contrast,
            "strokes" `(y, x)` is drawn in the classes' colours over raw and may be absent in some rows, and
            so are the "outlines" of the foreground classes' maps `(K, y, x)`, at 0.5, and the borders of
            "objects", whole numbers `(y, x)`. All others are shown
            from 0 to 1: `(y, x)` in grey, and `(K, y, x)` in the colours of the foreground classes.
        captions: text at the left of each row.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        _panel(rows, captions).savefig(temporary, dpi=130, metadata={"Software": None})
    return path


def save_samples(
    path: Path,
    samples: Sequence[tuple[np.ndarray, np.ndarray]],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Path:
    """Writes a PNG with a row for each training sample: its inputs, and the first with its targets' outlines.

    Args:
        samples: inputs `(C, y, x)`, and targets `(K, y, x)`, of which `IGNORED` is hatched.
        inputs, outputs: titles of the channels.
    """
    fig = _figure((2.2 * (len(inputs) + 1), 2.2 * len(samples) + 0.35), layout="constrained")
    axes = fig.subplots(len(samples), len(inputs) + 1, squeeze=False)
    for line, (image, targets) in zip(axes, samples, strict=True):
        for axis, channel in zip(line, [*image, image[0]], strict=True):
            axis.set_axis_off()
            low, high = np.percentile(channel, (0.5, 99.5))
            axis.imshow(channel, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        for truth, colour in zip(targets, cycle(CLASS_COLOURS[1:]), strict=False):
            inside, ignored = truth == 1, truth == IGNORED
            if inside.any() and not inside.all():
                line[-1].contour(inside, [0.5], colors=[colour], linewidths=0.8)
            if ignored.any():
                line[-1].contourf(ignored, [0.5, 1.5], colors="none", hatches=["///"])
    titles = [*inputs, f"{inputs[0]}, with {', '.join(outputs)}"]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        fig.savefig(temporary, dpi=130, metadata={"Software": None})
    return path


def marked(picture: np.ndarray, places: Sequence[tuple[int, int, int]]) -> bytes:
    """A picture with numbers on it, as a PNG.

    Args:
        picture: uint8 `(y, x, 3)`.
        places: number, y and x of each.
    """
    height, width = picture.shape[:2]
    fig = _figure((8, 8 * height / width))
    axis = fig.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.imshow(picture, interpolation="nearest", aspect="auto")
    box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": "#0b6e4f", "linewidth": 1}
    for number, y, x in places:
        axis.text(x, y, str(number), ha="center", va="center", fontsize=15, color="#0b6e4f", bbox=box)
    out = BytesIO()
    fig.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def orthogonal(volume: np.ndarray, at: Sequence[int], depth: int) -> np.ndarray:
    """The three planes through a voxel of a volume as one picture: x-y, at its right z-y, below it x-z.

    Args:
        volume: `(..., z, y, x)`.
        at: z, y and x of the voxel.
        depth: pixels that z gets in the picture; planes are repeated, so that voxels keep their shape.

    Returns:
        `(..., y + depth, x + depth)`, 0 where nothing is.
    """
    z, y, x = at
    stretched = volume[..., np.arange(depth) * volume.shape[-3] // depth, :, :]
    across = stretched[..., x].swapaxes(-1, -2)
    below = stretched[..., y, :]
    top = np.concatenate([volume[..., z, :, :], across], -1)
    empty = np.zeros((*below.shape[:-1], depth), volume.dtype)
    return np.concatenate([top, np.concatenate([below, empty], -1)], -2)


class Picture:
    """A picture that notebooks show, and that can be saved."""

    def __init__(self, png: bytes):
        self.png = png

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str | Path) -> None:
        """Writes it as a PNG."""
        write_bytes(path, self.png)


def show(
    raw: np.ndarray, strokes: np.ndarray | None = None, probabilities: np.ndarray | None = None
) -> Picture:
    """Raw, what was painted on it, and maps, side by side, for notebooks.

    Args:
        raw: `(y, x)`, or `(C, y, x)`, of which the mean is shown.
        strokes: integers `(y, x)`: 0 unlabelled, or the number of a class.
        probabilities: `(y, x)`, or `(K, y, x)`, in 0..1.
    """
    row = {"raw": raw.mean(0) if raw.ndim == 3 else raw}
    if strokes is not None:
        row[STROKES] = strokes
    if probabilities is not None:
        maps = probabilities[None] if probabilities.ndim == 2 else probabilities
        row |= {f"map {n}": p for n, p in enumerate(maps)}
    out = BytesIO()
    _panel([row], ()).savefig(out, format="png", dpi=130, metadata={"Software": None})
    return Picture(out.getvalue())


def _figure(size: tuple[float, float], **options: Any) -> "Figure":
    from matplotlib.figure import Figure  # slow to import

    return Figure(size, **options)


def _panel(rows: Sequence[Mapping[str, np.ndarray]], captions: Sequence[str]) -> "Figure":
    """All pictures on one pair of axes, whose unit is the side of a column: a pair for each takes longer."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    if STROKES in titles:  # beside raw, also where the first row has none
        titles.insert(1, titles.pop(titles.index(STROKES)))
    shapes = [next(iter(row.values())).shape[-2:] for row in rows]
    sides = [height / width for height, width in shapes]
    left, top = (_MARGIN if captions else 0), _MARGIN
    size = (_COLUMN * (left + len(titles)), _COLUMN * (top + sum(sides)))
    fig = _figure(size)  # no window system, and no notebook's, takes part
    axis = fig.add_axes((0, 0, 1, 1), xlim=(-left, len(titles)), ylim=(-sum(sides), top), autoscale_on=False)
    axis.set_axis_off()
    for column, title in enumerate(titles):
        axis.text(column + 0.5, top / 3, title, ha="center", fontsize=10)
    y = 0.0
    for row, side, caption in zip(rows, sides, chain(captions, repeat("")), strict=False):
        axis.text(-left / 2, y - side / 2, caption, ha="center", va="center", rotation=90, fontsize=8)
        for column, title in enumerate(titles):
            extent = (column + _GAP, column + 1 - _GAP, y - side * (1 - _GAP), y - side * _GAP)
            _show(axis, extent, title, row)
        y -= side
    return fig


def _show(
    axis: "Axes", extent: tuple[float, float, float, float], title: str, row: Mapping[str, np.ndarray]
) -> None:
    from matplotlib.colors import ListedColormap, to_rgb  # slow to import

    if title not in row:
        return
    image = row[title]
    draw = partial(axis.imshow, extent=extent, aspect="auto", interpolation="nearest")
    if title in ("raw", STROKES, OUTLINES, INSTANCES):
        low, high = np.percentile(row["raw"], (0.5, 99.5))
        draw(row["raw"], cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
        if title == STROKES:
            painted = np.ma.masked_equal(image, 0)
            draw(painted, cmap=ListedColormap(CLASS_COLOURS), vmin=1, vmax=len(CLASS_COLOURS))
        if title in (OUTLINES, INSTANCES):
            shapes = [_apart(image)] if title == INSTANCES else image
            for p, colour in zip(shapes, cycle(CLASS_COLOURS[1:]), strict=False):
                if p.min() < 0.5 < p.max():
                    axis.contour(p, [0.5], colors=[colour], linewidths=0.8, origin="upper", extent=extent)
    elif image.ndim == 3:
        coloured = np.zeros((*image.shape[1:], 3))
        for p, colour in zip(image, cycle(CLASS_COLOURS[1:]), strict=False):
            coloured += p[..., None] * np.array(to_rgb(colour))
        draw(coloured.clip(0, 1))
    else:
        draw(image, cmap="gray", vmin=0, vmax=1)


def _apart(labels: np.ndarray) -> np.ndarray:
    """Where there are objects, without what touches another one."""
    touching = find_boundaries(labels, mode="inner", background=0) & (labels > 0)
    return ((labels > 0) & ~touching).astype(np.float32)
