"""The choice among results, and where to paint next."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tiny import SIZE, VARIANTS

from shallow2deep.io.volumes import open_volume
from shallow2deep.stages.prediction import _Place, _places


def test_every_candidate_has_maps_of_every_image(whole: Path) -> None:
    choice = json.loads((whole / "prediction" / "choice.json").read_text())
    expected = {"target_forest", "enhanced", "source_net", "strokes_net", "supervised"}
    expected |= {f"segmentor-{variant}" for variant in VARIANTS}
    second = {f"segmentor-{variant}-2" for variant in VARIANTS}
    expected |= {name for name in second if not (whole / name / "skipped.json").exists()}
    assert set(choice["scores"]) == set(choice["dice_on_labels"]) == expected
    for name in [*expected, "prediction"]:
        p = open_volume(whole / name / "target3_raw.h5").read()
        assert p.shape[1:] == (SIZE, SIZE)
        assert 0 <= p.min() <= p.max() <= 1
    assert choice["recommended"] in expected - {"supervised"}
    recommended = whole / choice["recommended"] / "target0_raw.h5"
    assert (whole / "prediction" / "target0_raw.h5").read_bytes() == recommended.read_bytes()


def test_places_to_paint_are_clear_of_outlines_strokes_and_borders() -> None:
    """A disc that one result finds larger, and blobs that only one finds; one of them is clear of all."""
    y, x = np.indices((200, 200))
    one, other, strokes = np.zeros((1, 200, 200)), np.zeros((1, 200, 200)), np.zeros((200, 200), np.uint8)
    one[0, (y - 60) ** 2 + (x - 60) ** 2 < 30**2] = 1
    other[0, (y - 60) ** 2 + (x - 60) ** 2 < 22**2] = 1
    one[0, 140:154, 150:164] = one[0, 20:34, 150:164] = one[0, 150:164, 0:6] = 0.7
    strokes[27, 140:170] = 1
    plane = SimpleNamespace(strokes=strokes, held_out=0 * strokes, image=SimpleNamespace(name="a"), z=0)
    maps = {"one": one, "other": other}
    found = _places(plane, maps, np.ptp([one, other], 0)[0], ["ground", "disc"])
    first, *others = sorted(found, key=_by_disagreement)
    assert first.seen == "disc by one, ground by other"
    assert first.is_of_two_minds
    assert not replace(first, seen="disc by one and other").is_of_two_minds
    assert (abs(first.y - 147) <= 1, abs(first.x - 157) <= 1) == (True, True)
    assert all(place.disagreement < first.disagreement / 2 for place in others)
    for place in others:
        assert 8 <= place.y < 192
        assert 8 <= place.x < 192
        assert not strokes[place.y - 7 : place.y + 8, place.x].any()


def _by_disagreement(place: _Place) -> float:
    return -place.disagreement
