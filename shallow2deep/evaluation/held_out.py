"""Choosing among results without dense labels: strokes that nothing has learned from judge them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from skimage.measure import label, regionprops

from shallow2deep.seeding import generator

_RESAMPLES = 2000
MIN_STROKES = 4  # of each class that are held out: fewer say too little about the spread
_TOLERATED = 0.05  # accuracy: strokes miss the places at which a forest is wrong, so small losses tell little
_ALIKE = 0.01  # accuracies that differ by no more are not told apart


def split_strokes(
    strokes: Sequence[np.ndarray], share: float, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Parts strokes into those to learn from and those to judge by; whole strokes, class by class.

    A stroke is what hangs together, also across corners. Of each class `share` of the strokes is held out,
    but at least `MIN_STROKES` and at most half. If a class has fewer than twice `MIN_STROKES`, none is held
    out: too few to judge by would only be lost for learning.

    Args:
        strokes: integers `(*spatial)` each: 0 unlabelled, k for class k.

    Returns:
        The used and the held-out strokes, arrays like those given.
    """
    used = [s.copy() for s in strokes]
    held = [np.zeros_like(s) for s in strokes]
    if share == 0:
        return used, held
    numbers = [int(n) for n in np.unique(np.concatenate([np.unique(s) for s in strokes])) if n]
    parts = {n: [label(s == n, connectivity=s.ndim) for s in strokes] for n in numbers}
    if any(sum(int(image.max()) for image in found) < 2 * MIN_STROKES for found in parts.values()):
        return used, held
    for number, found in parts.items():
        places = [(n, k) for n, image in enumerate(found) for k in range(1, int(image.max()) + 1)]
        count = min(max(round(share * len(places)), MIN_STROKES), len(places) // 2)
        chosen = generator(seed, "held-out strokes", number).permutation(len(places))[:count]
        for n, k in (places[i] for i in chosen):
            drawn = found[n] == k
            used[n][drawn], held[n][drawn] = 0, number
    return used, held


def count_strokes(strokes: Sequence[np.ndarray], n_classes: int) -> list[int]:
    """The number of strokes of each class, from 1; those that touch, also across corners, count as one."""
    return [
        sum(int(label(s == n, connectivity=s.ndim).max()) for s in strokes) for n in range(1, n_classes + 1)
    ]


@dataclass(frozen=True)
class Score:
    """How well held-out strokes are met, and how far that can be trusted.

    Attributes:
        accuracy: share of right pixels; mean over a class's strokes, then over classes. nan without strokes.
        low, high: 95 % interval of it, from strokes drawn again with replacement within each class; nan if
            a class has fewer than `MIN_STROKES`.
        gain: accuracy above the baseline's.
        gain_low, gain_high: its interval, from the same draws for both; 95 % for all candidates together, so
            wider, the more there are (Bonferroni).
        consistency: agreement of two predictions of the same image, one of them of the flipped and noisy
            image; nan if not measured.
    """

    accuracy: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    consistency: float


def right_shares(
    maps: Iterable[np.ndarray], held: Sequence[np.ndarray], exclusive: bool
) -> dict[int, np.ndarray]:
    """For each class the share of right pixels of each held-out stroke.

    Args:
        maps: for each image float32 `(C - 1, *spatial)`, the foreground classes' probabilities.
        held: for each image integers `(*spatial)`.
        exclusive: whether what is missing to 1 is the background's probability, as in a forest's maps;
            otherwise pixels at which no class has more than 0.5 are background.
    """
    shares: dict[int, list[float]] = {}
    for p, drawn in zip(maps, held, strict=True):
        if not drawn.any():
            continue
        background = 1 - p.sum(0) if exclusive else np.full(p.shape[1:], 0.5)
        found = np.where(p.max(0) > background, p.argmax(0) + 2, 1)
        for number in np.unique(drawn[drawn > 0]):
            strokes = label(drawn == number, connectivity=drawn.ndim)
            for stroke in regionprops(strokes):
                right = found[tuple(stroke.coords.T)] == number
                shares.setdefault(int(number), []).append(float(right.mean()))
    return {number: np.array(values) for number, values in sorted(shares.items())}


def of_one_class(held: np.ndarray, number: int) -> np.ndarray:
    """Strokes that judge a class's map alone: 2 for the class, 1 for all others."""
    return np.where(held == number, 2, held > 0)


def mean_accuracy(shares: Mapping[int, np.ndarray]) -> float:
    """Share of right pixels: mean over a class's strokes, then over classes; nan without strokes."""
    return float(np.mean([values.mean() for values in shares.values()])) if shares else float("nan")


def scores_of(
    shares: Mapping[str, Mapping[int, np.ndarray]],
    baseline: str,
    seed: int,
    consistency: Mapping[str, float] | None = None,
) -> dict[str, Score]:
    """Scores of all candidates, from `right_shares` of each on the same strokes."""
    rng = generator(seed, "bootstrap")
    counts = {number: len(values) for number, values in shares[baseline].items()}
    draws = {n: rng.integers(0, count, (_RESAMPLES, count)) for n, count in counts.items()}

    def resampled(name: str) -> np.ndarray:
        return np.mean([shares[name][n][draws[n]].mean(1) for n in counts], axis=0)

    if not counts:
        nan = float("nan")
        known = consistency or {}
        return {name: Score(nan, nan, nan, nan, nan, nan, known.get(name, nan)) for name in shares}
    base, base_mean = resampled(baseline), mean_accuracy(shares[baseline])
    known_spread = min(counts.values()) >= MIN_STROKES
    found = {}
    for name in shares:
        values = resampled(name) if known_spread else np.full(1, np.nan)
        low, high = np.percentile(values, (2.5, 97.5))
        tail = 2.5 / max(1, len(shares) - 1)
        gain_low, gain_high = np.percentile(values - base, (tail, 100 - tail))
        found[name] = Score(
            mean_accuracy(shares[name]),
            float(low),
            float(high),
            mean_accuracy(shares[name]) - base_mean,
            float(gain_low),
            float(gain_high),
            (consistency or {}).get(name, float("nan")),
        )
    return found


def recommend(
    scores: Mapping[str, Score],
    strokes: Mapping[str, int],
    baseline: str,
    trusted: Sequence[str] = (),
    painted: str = "",
) -> tuple[str, str]:
    """The candidate to use, and why, in a sentence.

    Candidates that are surely better than the baseline on held-out strokes come first: of those about as good
    as the best, the most consistent one. If there is none, the first of `trusted` that is not surely worse by
    more than 0.05, or, where there are too few strokes to judge by, simply the first: a guess, and said to be
    one. Strokes lie in the middle of things, where the baseline is right: they can rule a candidate out, but
    seldom show that it is better elsewhere.

    Args:
        strokes: number of held-out strokes of each class, by its name.
        trusted: candidates that are expected to be better than the baseline, best first.
        painted: how many strokes there are of each class, in words.
    """
    short = [name for name, count in strokes.items() if count < MIN_STROKES]
    guess = next(iter(trusted), baseline)
    often = f", and {guess} is most often the best" if guess != baseline else ""
    if not any(strokes.values()):
        return guess, (
            f"a guess: no strokes were held out, so nothing can be judged{often}; look at the pictures of "
            f"all results, or paint {2 * MIN_STROKES} strokes or more of each class{_of(painted)}, leave "
            "held_out above 0, and have the forest trained here"
        )
    if short:
        return guess, (
            f"a guess: {MIN_STROKES} held-out strokes of each class are needed to judge, {short[0]} has "
            f"{strokes[short[0]]}{often}; look at the pictures, or paint more strokes{_of(painted)}"
        )
    better = {name: s for name, s in scores.items() if name != baseline and s.gain_low > 0}
    if not better:
        return _not_ruled_out(scores, baseline, trusted)
    top = max(s.accuracy for s in better.values())
    level = {name: s for name, s in better.items() if s.accuracy >= top - _ALIKE}
    name = max(level, key=lambda n: (np.nan_to_num(level[n].consistency), level[n].accuracy))
    reason = f"on held-out strokes it gains {_interval(scores[name])} over {baseline}"
    if len(level) > 1:
        others = ", ".join(n for n in level if n != name)
        reason += f", and of those about as good ({others}) it changes least under noise and flips"
    return name, reason


def _of(painted: str) -> str:
    return f" (there are {painted}; strokes that touch count as one)" if painted else ""


def _not_ruled_out(scores: Mapping[str, Score], baseline: str, trusted: Sequence[str]) -> tuple[str, str]:
    for name in trusted:
        if scores[name].gain_high >= -_TOLERATED:
            return name, (
                f"on held-out strokes it is not surely worse than {baseline} by more than {_TOLERATED} "
                f"({_interval(scores[name])}), and of what strokes do not rule out it is most often the "
                "best; look at the pictures"
            )
    others = {name: score for name, score in scores.items() if name != baseline}
    if others and all(score.gain_high < -_TOLERATED for score in others.values()):
        worse = ", ".join(f"{name} {_interval(score)}" for name, score in others.items())
        return baseline, f"on held-out strokes every other result is surely worse: {worse}"
    best = max(scores, key=lambda name: scores[name].accuracy)
    return baseline, (
        f"the evidence is too weak: nothing is surely better than {baseline} on the held-out strokes"
        + (f" ({best} gains {_interval(scores[best])})" if best != baseline else "")
    )


def _interval(score: Score) -> str:
    return f"{score.gain:+.3f} ({score.gain_low:+.3f} to {score.gain_high:+.3f})"


def disagreement(maps: Sequence[np.ndarray]) -> np.ndarray:
    """How far candidates' maps of one image differ: standard deviation, largest over classes.

    Args:
        maps: for each candidate float32 `(C - 1, *spatial)`.

    Returns:
        float32 `(*spatial)` in 0..0.5.
    """
    return np.std(np.stack(maps), axis=0).max(0).astype(np.float32)
