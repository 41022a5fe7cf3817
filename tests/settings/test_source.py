"""Settings of enhancer-train."""

import pytest
import yaml
from tiny import Data

from shallow2deep.errors import SettingsError
from shallow2deep.settings import EnhancerTrainConfig, validated, with_overrides


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("forests.trees", [120, 30]),
        ("forests.strokes.images", [0, 0]),
        ("forests.depths", []),
        ("enhancer.augment.zoom", [0, 1]),
        ("enhancer.network.depth", 12),
        ("source_net.patch", [512, 512, 1]),
        ("classes", ["a", "a"]),
        ("jobs", 0),
    ],
)
def test_settings_out_of_range(path: str, value: object, data: Data) -> None:
    values = with_overrides(
        data.source_values(), [f"{path}={yaml.safe_dump(value, default_flow_style=True)}"]
    )
    with pytest.raises(SettingsError):
        validated(EnhancerTrainConfig, values, "test")


def test_all_problems_are_told_at_once(data: Data) -> None:
    values = data.source_values(jobs=0, nmae="x", seed=-1)
    with pytest.raises(SettingsError) as found:
        validated(EnhancerTrainConfig, values, "test")
    for words in ("jobs: a number of jobs", 'unknown setting "nmae"; did you mean "name"', "seed: "):
        assert words in str(found.value)
    values = data.source_values()
    values["probabilities"] |= {"forests_per_patch": 9, "patch": [16, 16]}
    with pytest.raises(
        SettingsError, match=r"enhancer.patch is larger than .*; probabilities.forests_per_patch is 9"
    ):
        validated(EnhancerTrainConfig, values, "test")
