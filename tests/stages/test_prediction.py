"""The choice among results, and where to paint next."""

import json
from pathlib import Path

from tiny import SIZE, VARIANTS

from shallow2deep.io.volumes import open_volume


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
