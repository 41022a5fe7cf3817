"""Live maps: what the library gives for the same strokes."""

import json
import threading
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import shallow2deep as s2d
from shallow2deep.errors import InputError, OutdatedError
from shallow2deep.service import live as live_module
from shallow2deep.service.live import Live, View
from shallow2deep.service.painting import Painting
from shallow2deep.settings import EnhancedSettings

SHAPE = (300, 310)


@pytest.fixture
def painting(tmp_path: Path) -> Painting:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    discs = ((y % 50 - 25) ** 2 + (x % 50 - 25) ** 2 < 15**2) * 80
    noise = np.random.default_rng(0).integers(0, 60, SHAPE)
    iio.imwrite(tmp_path / "a.png", (discs + noise).astype(np.uint8))
    painting = Painting([str(tmp_path / "a.png")], tmp_path / "project")
    painting.paint(0, 0, [(y, 0, 300, 1) for y in (49, 50, 51)], "one")
    painting.paint(0, 0, [(y, 265, 285, 2) for y in (273, 275, 277)], "one")
    return painting


def all_of(**changes: slice) -> View:
    return View(0, 0, **({"rows": slice(0, SHAPE[0]), "columns": slice(0, SHAPE[1])} | changes))


def expected_forest_map(painting: Painting) -> np.ndarray:
    """By the library's functions on the whole image."""
    raw = painting.plane(0, 0).read()
    strokes = painting.strokes(0).window(0, slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    spec = live_module.Live(painting)._spec(0)
    forest = s2d.train_forest(raw, strokes, spec, classes=painting.classes, n_jobs=1, **live_module._GROWTH)
    return s2d.predict_probabilities(forest, raw)


def test_the_forest_map_is_that_of_the_library(painting: Painting) -> None:
    """Nearly: trees are grown on the same pixels in another order."""
    live = Live(painting)
    found = live.forest_map(all_of(), live.turn("one", 1))
    assert found.values.shape == (2, *SHAPE) and found.revision == 2
    expected = expected_forest_map(painting)
    assert abs(found.values - expected).mean() < 0.05
    assert ((found.values[1] > 0.5) == (expected[1] > 0.5)).mean() > 0.95


def test_a_part_is_a_part_of_the_whole(painting: Painting) -> None:
    live = Live(painting)
    whole = live.forest_map(all_of(), live.turn("one", 1)).values
    part = live.forest_map(all_of(rows=slice(200, 290), columns=slice(3, 301)), live.turn("one", 2)).values
    np.testing.assert_array_equal(part, whole[:, 200:290, 3:301])


def test_a_new_stroke_changes_the_map_and_needs_no_new_features(
    painting: Painting, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(painting)
    before = live.forest_map(all_of(), live.turn("one", 1))
    fresh = Live(painting)
    monkeypatch.setattr(live_module, "compute_features", None)  # it is not called
    painting.paint(0, 0, [(y, 100, 290, 2) for y in (120, 122)], "one")
    after = live.forest_map(all_of(), live.turn("one", 2))
    assert after.revision == before.revision + 1 and (after.values != before.values).mean() > 0.05
    monkeypatch.undo()
    np.testing.assert_array_equal(fresh.forest_map(all_of(), fresh.turn("one", 1)).values, after.values)


def test_the_enhanced_map_is_that_of_the_library(painting: Painting) -> None:
    live = Live(painting)
    p = live.forest_map(all_of(), live.turn("one", 1)).values
    found = live.enhanced_map(all_of(), live.turn("one", 2), scale=0.7)
    network, model = s2d.load_enhancer("nuclei-2d")
    enhancer = s2d.Enhancer(network, model.outputs, EnhancedSettings(scales=(0.7,)))
    np.testing.assert_allclose(found.values[0], enhancer.enhance(p)[-1], atol=1e-6)
    np.testing.assert_allclose(found.values[1], abs(found.values[0] - p[1]) / 2, atol=1e-6)
    strokes = painting.strokes(0).window(0, slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert found.places and all(strokes[y, x] == 0 for y, x in found.places)


def test_what_is_out_of_date_ends(painting: Painting) -> None:
    live = Live(painting)
    old = live.turn("one", 1)
    live.turn("other", 9)  # another window's are not
    live.forest_map(all_of(), old)
    live.turn("one", 2)
    with pytest.raises(OutdatedError):
        live.enhanced_map(all_of(), old)


def test_an_enhancer_at_work_is_ended(painting: Painting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of its layers, by a turn of another thread."""
    live = Live(painting)
    turn, layers = live.turn("one", 1), []
    kept = live_module.Turn.check

    def check(self: live_module.Turn, *of: object) -> None:
        if of:
            layers.append(of)
            if len(layers) == 5:
                thread = threading.Thread(target=live.turn, args=["one", 2])
                thread.start()
                thread.join()
        kept(self)

    monkeypatch.setattr(live_module.Turn, "check", check)
    with pytest.raises(OutdatedError):
        live.enhanced_map(all_of(), turn)
    assert len(layers) == 5
    monkeypatch.undo()
    live.enhanced_map(all_of(), live.turn("one", 3))  # no hook is left


def test_one_class_alone_is_not_learned_from(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", np.zeros((60, 60), np.uint8))
    painting = Painting([str(tmp_path / "a.png")], tmp_path / "project")
    painting.paint(0, 0, [(5, 0, 9, 1)], "one")
    live = Live(painting)
    view = View(0, 0, slice(0, 60), slice(0, 60))
    with pytest.raises(InputError, match="background"):
        live.forest_map(view, live.turn("one", 1))


def test_views_are_bounded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2000, 2000), np.uint8))
    live = Live(Painting([str(tmp_path / "a.npy")], tmp_path / "project"))
    with pytest.raises(InputError, match="at most"):
        live.forest_map(View(0, 0, slice(0, 2000), slice(0, 2000)), live.turn("one", 1))


def test_facts_are_json(painting: Painting) -> None:
    from shallow2deep.service.painting_routes import _answer

    live = Live(painting)
    answer = _answer(live.enhanced_map(all_of(), live.turn("one", 1), 0.5))
    facts = json.loads(answer.headers["x-facts"])
    assert facts["shape"] == [2, *SHAPE] and len(answer.body) == 2 * SHAPE[0] * SHAPE[1]
