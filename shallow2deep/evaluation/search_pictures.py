"""What a search over settings has found, as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from shallow2deep.io.atomic import atomic_path


def save_importance(path: Path, importance: Mapping[str, float]) -> Path:
    """Writes bars: how much of the scores' variance each setting explains."""
    fig = Figure((5, 0.4 * len(importance) + 1), layout="constrained")
    axis = fig.subplots()
    axis.barh(list(importance)[::-1], list(importance.values())[::-1])
    axis.set_xlabel("importance")
    return _saved(path, fig)


def save_parallel(path: Path, trials: Sequence[Mapping[str, float | str]], score: str) -> Path:
    """Writes parallel coordinates: an axis for each setting and the score, a line for each trial.

    Args:
        trials: values by name, the same names in each; words are put in order.
        score: the name that colours follow.
    """
    names = list(trials[0])
    scaled, ticks = zip(*(_scaled([trial[name] for trial in trials]) for name in names), strict=True)
    fig = Figure((1.8 * len(names) + 1, 3.5), layout="constrained")
    axis = fig.subplots()
    for n in np.argsort(scaled[names.index(score)]):  # the best above all others
        colour = colormaps["viridis"](scaled[names.index(score)][n])
        axis.plot(range(len(names)), [values[n] for values in scaled], color=colour)
    for place, labels in enumerate(ticks):
        axis.axvline(place, color="grey", linewidth=0.6)
        for height, text in labels:
            axis.text(place + 0.03, height, text, fontsize=7)
    axis.set_xticks(range(len(names)), [name.replace(".", ".\n") for name in names], fontsize=7)
    axis.set_yticks([])
    axis.set_xlim(-0.1, len(names) - 0.5)
    axis.set_ylim(-0.05, 1.05)
    return _saved(path, fig)


def _scaled(values: Sequence[float | str]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Values in 0..1, and texts at some of them."""
    if all(isinstance(value, int | float) for value in values):
        numbers = np.array(values, float)
        low, high = numbers.min(), numbers.max()
        logarithmic = low > 0 and high / low > 30
        scale = np.log if logarithmic else np.asarray
        between = (scale(numbers) - scale(low)) / max(scale(high) - scale(low), 1e-12)
        return between, [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]
    words = sorted({str(value) for value in values})
    steps = {word: n / max(len(words) - 1, 1) for n, word in enumerate(words)}
    return np.array([steps[str(value)] for value in values]), [(place, word) for word, place in steps.items()]


def _saved(path: Path, fig: Figure) -> Path:
    with atomic_path(path) as temporary:
        fig.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
    return path
