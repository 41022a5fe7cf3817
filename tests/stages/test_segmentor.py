"""Segmentor, baselines, choice, report and comparison on the tiny data."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tiny import SEGMENTOR, SIZE, Data, artifacts

from shallow2deep import adapt, predict
from shallow2deep.errors import InputError, SettingsError
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import load_model
from shallow2deep.commands.compare import compare
from shallow2deep.commands.status import status

ALL = ["plain", "consistency", "rectification", "both"]


def values(data: Data, source_run: Path, **changes: object) -> dict:
    found = data.target_values(source_run, segmentor=SEGMENTOR | {"variants": ALL[:1]} | changes)
    strokes = {"raw": f"{data.folder}/target*_raw.png", "strokes": f"{data.folder}/target*_strokes.png"}
    return found | {"target": strokes | {"labels": f"{data.folder}/target*_labels.png"}, "held_out": 0.3}


def made(data: Data, source_run: Path, run: Path, compared: bool = False, **changes: object) -> Path:
    from shallow2deep.settings import AdaptConfig, validated

    extra = {"source_net": True, "strokes_net": True, "supervised": True} if compared else {}
    config = validated(AdaptConfig, values(data, source_run, **changes) | {"compare": extra}, "test")
    adapt(config, run)
    return run


@pytest.fixture(scope="module")
def whole(data: Data, source_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(
        data, source_run, tmp_path_factory.mktemp("whole") / "run", compared=True, variants=ALL, rounds=2
    )


def test_every_candidate_has_maps_of_every_image(whole: Path) -> None:
    choice = json.loads((whole / "prediction" / "choice.json").read_text())
    expected = {"target_forest", "enhanced", "source_net", "strokes_net", "supervised"}
    expected |= {f"segmentor-{variant}" for variant in ALL}
    second = {f"segmentor-{variant}-2" for variant in ALL}
    expected |= {name for name in second if not (whole / name / "skipped.json").exists()}
    assert set(choice["scores"]) == set(choice["dice_on_labels"]) == expected
    for name in [*expected, "prediction"]:
        p = open_volume(whole / name / "target3_raw.h5").read()
        assert p.shape[1:] == (SIZE, SIZE)
        assert 0 <= p.min() <= p.max() <= 1
    assert choice["recommended"] in expected - {"supervised"}
    recommended = whole / choice["recommended"] / "target0_raw.h5"
    assert (whole / "prediction" / "target0_raw.h5").read_bytes() == recommended.read_bytes()


def test_variants_differ(whole: Path) -> None:
    maps = [open_volume(whole / f"segmentor-{v}" / "target0_raw.h5").read() for v in ALL]
    for n, p in enumerate(maps):
        for q in maps[n + 1 :]:
            assert not np.array_equal(p, q)


def test_segmentor_holds_its_normalisation_and_predicts_further_images(
    whole: Path, data: Data, tmp_path: Path
) -> None:
    _, spec = load_model(whole / "segmentor-plain")
    raws = [open_volume(f"{data.folder}/target{n}_raw.png").read().astype(float) for n in range(4)]
    assert spec.normalisation == pytest.approx((np.mean(raws), np.std(raws)))
    raw = f"{data.folder}/target1_raw.png"
    expected = open_volume(whole / "segmentor-plain" / "target1_raw.h5").read()
    for n, (model, step) in enumerate(
        [(whole, "segmentor"), (whole, "segmentor-plain"), (whole / "segmentor-plain", "recommended")]
    ):
        found = predict(model, raw, tmp_path / f"{n}.h5", step)
        np.testing.assert_array_equal(open_volume(found[0]).read(), expected)
    recommended = predict(whole, raw, tmp_path / "r.h5")
    np.testing.assert_array_equal(
        open_volume(recommended[0]).read(), open_volume(whole / "prediction" / "target1_raw.h5").read()
    )
    with pytest.raises(InputError, match="none of its results"):
        predict(whole, raw, tmp_path / "x.h5", "segmenter")


def test_report_and_disagreement(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    for word in (
        "CC0 for tests",
        "segmentor-both",
        "Where to paint next",
        "Learning curves",
        "data:image/png;base64,",
    ):
        assert word in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    lines = (whole / "prediction" / "where_to_paint.csv").read_text().splitlines()
    assert lines[0] == "image,z,y,x,disagreement"
    assert (whole / "prediction" / "disagreement_target0_raw.png").is_file()
    assert (whole / "panels.png").is_file()


def test_strokes_and_held_out_strokes_are_apart(whole: Path, data: Data) -> None:
    import zarr

    choice = json.loads((whole / "prediction" / "choice.json").read_text())
    drawn = [open_volume(f"{data.folder}/target{n}_strokes.png").read() for n in range(4)]
    assert choice["used_pixels"] + choice["held_out_pixels"] == sum(np.count_nonzero(s) for s in drawn)
    assert all(count >= 1 for count in choice["held_out_strokes"].values())
    pool = zarr.open_group(whole / "pseudo_labels" / "pool.zarr", mode="r")
    layers = [np.asarray(pool[str(n)]) for n in range(4)]
    assert sum(np.count_nonzero(part[-1]) for part in layers) == choice["used_pixels"]
    for part in layers:  # under strokes pseudo-labels weigh nothing
        assert (part[-2][part[-1] > 0] == 0).all()
        assert part[-2].max() <= 1


def test_everything_is_finished_and_run_again_does_nothing(whole: Path, data: Data, source_run: Path) -> None:
    assert {s.word for s in status(whole).stages.values()} == {"finished"}
    before = artifacts(whole)
    made(data, source_run, whole, compared=True, variants=ALL, rounds=2)
    assert artifacts(whole) == before


@pytest.mark.parametrize("variant", ["plain", "both"])
@pytest.mark.parametrize("stops", [2, 9, 14, 17])
def test_stopped_anywhere_it_ends_with_the_same_bytes(
    whole: Path, data: Data, source_run: Path, tmp_path: Path, monkeypatch, stops: int, variant: str
) -> None:
    from shallow2deep.errors import Interrupted
    from shallow2deep.runs import engine

    asked = 0

    def signal_after_a_while() -> bool:
        nonlocal asked
        asked += 1
        return asked > stops

    def check() -> None:
        if signal_after_a_while():
            raise Interrupted("stopped by test", 15)

    for module in ("segmentor", "pseudo_labels", "enhanced", "choice"):
        monkeypatch.setattr(f"shallow2deep.stages.{module}.check_stop", check)
    monkeypatch.setattr("shallow2deep.stages.segmentor.stop_requested", signal_after_a_while)
    with pytest.raises(Interrupted):
        made(data, source_run, tmp_path / "run", variants=[variant])
    monkeypatch.undo()
    assert engine.stop_requested() is False
    made(data, source_run, tmp_path / "run", variants=[variant])
    for name in ("pseudo_labels", f"segmentor-{variant}"):
        ours = artifacts(tmp_path / "run" / name)
        theirs = artifacts(whole / name)
        assert ours.keys() == theirs.keys()
        assert {n for n in ours if ours[n] != theirs[n]} <= {"manifest.json"}


def test_round_without_gain_ends_the_rounds(
    whole: Path, data: Data, source_run: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("shallow2deep.stages.pseudo_labels.mean_accuracy", lambda shares: 0.5)
    run = made(data, source_run, tmp_path / "run", rounds=3)
    for number in (2, 3):
        assert (run / f"segmentor-plain-{number}" / "skipped.json").is_file()
    choice = json.loads((run / "prediction" / "choice.json").read_text())
    assert set(choice["scores"]) == {"target_forest", "enhanced", "segmentor-plain"}


@pytest.mark.parametrize(
    "settings",
    [
        {"confidence": {"use": "none"}},
        {"confidence": {"use": "mask", "threshold": 0.6, "forests": 2, "flips": False}},
        {"alignment": 1.0, "stroke_weight": 3.0},
    ],
)
def test_settings_of_pseudo_labels(
    whole: Path, data: Data, source_run: Path, tmp_path: Path, settings: dict
) -> None:
    run = made(data, source_run, tmp_path / "run", **settings)
    changed = open_volume(run / "segmentor-plain" / "target0_raw.h5").read()
    assert not np.array_equal(changed, open_volume(whole / "segmentor-plain" / "target0_raw.h5").read())


def test_starting_weights(whole: Path, data: Data, source_run: Path, tmp_path: Path) -> None:
    run = made(data, source_run, tmp_path / "run", weights=str(whole / "supervised"))
    changed = open_volume(run / "segmentor-plain" / "target0_raw.h5").read()
    assert not np.array_equal(changed, open_volume(whole / "segmentor-plain" / "target0_raw.h5").read())
    with pytest.raises(InputError, match="other than segmentor"):
        made(data, source_run, tmp_path / "other", weights=str(source_run / "source_net"))


def test_compare_with_seeds(data: Data, source_run: Path, tmp_path: Path) -> None:
    from shallow2deep.settings import RawData

    run = made(data, source_run, tmp_path / "run")
    test = (
        RawData(raw=(f"{data.folder}/source0_raw.png",)),
        RawData(raw=(f"{data.folder}/source0_labels.png",)),
    )
    result = compare(run, 2, None, *test)
    assert "supervised" in result.text
    assert "Dice on test" in result.text
    assert "±" in result.text
    scores = json.loads(result.path.with_name("scores.json").read_text())
    assert len(scores) == 2
    again = compare(run, 2, None, *test)
    assert again.text == result.text
    with pytest.raises(InputError, match="belong together"):
        compare(run, 2, None, test[0])


def test_bad_settings_are_refused_before_work(data: Data, source_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not divide"):
        made(data, source_run, tmp_path / "a", patch=[30, 30])
    with pytest.raises(SettingsError, match="variants"):
        made(data, source_run, tmp_path / "a", variants=["best"])
    without = shutil.copytree(source_run / "enhancer", tmp_path / "enhancer")
    from shallow2deep.settings import AdaptConfig, validated

    found = values(data, without) | {"compare": {"source_net": True}}
    with pytest.raises(InputError, match="with-source-net"):
        adapt(validated(AdaptConfig, found, "test"), tmp_path / "a")
    found = data.target_values(source_run, compare={"supervised": True})
    with pytest.raises(SettingsError, match=r"target\.labels"):
        validated(AdaptConfig, found, "test")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("width", [1920, 1280])
def test_report_opens_in_a_browser(whole: Path, tmp_path: Path, width: int) -> None:
    """Nothing is cut off at the right, all pictures are there, and nothing is fetched."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    page = (whole / "report.html").read_text()
    probe = """<script>addEventListener("load", () => { document.title = JSON.stringify({
        wide: document.documentElement.scrollWidth, inner: innerWidth,
        pictures: [...document.images].map(i => i.naturalWidth),
        rows: document.querySelectorAll("#scores tbody tr").length,
        chosen: document.querySelectorAll("#scores tr.chosen").length,
        fetched: performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length
        }) })</script></body>"""
    (tmp_path / "probe.html").write_text(page.replace("</body>", probe))
    common = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1000"]
    dom = subprocess.run(
        [*common, "--dump-dom", (tmp_path / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=300, check=True,
    ).stdout  # fmt: skip
    found = json.loads(html.unescape(re.search("<title>(.*?)</title>", dom, re.S).group(1)))
    assert found["wide"] <= found["inner"]
    assert len(found["pictures"]) == 3
    assert min(found["pictures"]) > 90
    assert found["rows"] >= 9
    assert found["chosen"] == 1
    assert found["fetched"] == 0
