"""What a user can do to get a better result, in sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence

from shallow2deep.evaluation.held_out import MIN_STROKES

_HARDLY = 0.2  # of the forest's share of an image
_MUCH_MORE = 3.0
_SHOWN = 3  # names of images in a sentence


def advice(
    strokes: Mapping[str, int],
    images: Sequence[str],
    unlike: Sequence[str],
    shares: Mapping[str, tuple[float, float]],
    places: Sequence[str],
) -> list[str]:
    """Sentences, the most useful first; none if there is nothing to say.

    Args:
        strokes: number of strokes of each class.
        images: names of all images.
        unlike: of those that differ in brightness or contrast from the painted ones.
        shares: of each foreground class that was enhanced, its share of all pixels in the forest's map and in
            the enhanced one.
        places: at each of the places where results differ most, what they see there, in words.
    """
    return [
        *_on_strokes(strokes),
        *_on_brightness(images, unlike),
        *(text for name, both in shares.items() for text in _on_shares(name, *both)),
        *_on_places(places),
    ]


def _on_strokes(strokes: Mapping[str, int]) -> list[str]:
    few = [f"{name} has {count}" for name, count in strokes.items() if count < 2 * MIN_STROKES]
    if not few:
        return []
    return [f"paint more strokes ({', '.join(few)}): from {2 * MIN_STROKES} of each class on they also judge"]


def _on_brightness(images: Sequence[str], unlike: Sequence[str]) -> list[str]:
    if not unlike:
        return []
    more = ", …" if len(unlike) > _SHOWN else ""
    return [
        f"{len(unlike)} of {len(images)} images differ in brightness or contrast from the painted ones "
        f"({', '.join(unlike[:_SHOWN])}{more}): paint on one of them, too"
    ]


def _on_shares(name: str, forest: float, enhanced: float) -> list[str]:
    found = f"{enhanced:.1%} of the pixels, the forest in {forest:.1%}"
    if enhanced < _HARDLY * forest:
        return [
            f"the enhanced map sees {name} in {found}: either the forest takes background for {name}, and "
            "more background should be painted, or the enhancer does not know such images"
        ]
    if enhanced > _MUCH_MORE * forest:
        return [
            f"the enhanced map sees {name} in {found}: either the forest misses {name}, and more of it "
            "should be painted, or the enhancer takes something else for it"
        ]
    return []


def _on_places(places: Sequence[str]) -> list[str]:
    if not places:
        return []
    what, count = Counter(places).most_common(1)[0]
    return [f"paint where results differ most: at {count} of {len(places)} places it is {what}"]
