"""Settings where images are volumes: other defaults, and what does not fit."""

from pathlib import Path

import pytest
from balls import source_values, target_values

from shallow2deep.errors import SettingsError
from shallow2deep.settings import AdaptConfig, EnhancerTrainConfig, validated
from shallow2deep.settings.in_3d import IN_3D

FOLDER = Path("/nowhere")


def test_what_is_not_set_has_defaults_of_volumes() -> None:
    values = source_values(FOLDER)
    for section in ("forests", "probabilities", "enhancer", "source_net"):
        del values[section]
    volumes = validated(EnhancerTrainConfig, values, "test")
    network = volumes.enhancer.network
    assert {"features": network.features, "depth": network.depth, "stem": network.stem} == IN_3D["enhancer"][
        "network"
    ]
    assert (volumes.enhancer.batch, volumes.probabilities.patches) == (2, 48)
    assert volumes.source_net is None
    flat = validated(EnhancerTrainConfig, values | {"ndim": 2}, "test")
    assert (flat.enhancer.batch, flat.enhancer.network.stem, flat.probabilities.patches) == (8, 2, 160)
    target = target_values(FOLDER, "any") | {"segmentor": None, "ndim": "3"}
    compared = validated(AdaptConfig, target, "test")
    assert (compared.ndim, compared.segmentor, compared.target_network.network.stem) == (3, None, 1)
    assert len(compared.enhanced.block) == len(compared.target_network.patch) == 3
    set_by_hand = validated(AdaptConfig, target | {"enhanced": {"block": [8, 8, 8]}}, "test").enhanced
    assert (set_by_hand.block, set_by_hand.scales) == ((8, 8, 8), IN_3D["enhanced"]["scales"])


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("enhancer", {"patch": [32, 32]}, r"enhancer\.patch has 2 axes but ndim is 3"),
        ("enhancer", {"network": {"stem": 2}}, "networks in 3D have none; set it to 1"),
        ("enhancer", {"network": {"strides": [[2, 2]]}}, "strides are not of 3 axes"),
        ("forests", {"patch": [32, 32]}, r"forests\.patch has 2 axes"),
    ],
)
def test_what_does_not_fit_volumes_is_refused(section: str, change: dict, message: str) -> None:
    values = source_values(FOLDER)
    with pytest.raises(SettingsError, match=message):
        validated(EnhancerTrainConfig, values | {section: values[section] | change}, "test")


def test_settings_of_volumes_are_refused_for_planes() -> None:
    values = source_values(FOLDER) | {"ndim": 2, "features": {"ndim": 3}}
    with pytest.raises(SettingsError, match=r"features\.ndim is 3"):
        validated(EnhancerTrainConfig, values, "test")
    plain = target_values(FOLDER, "any") | {"ndim": 2, "segmentor": None}
    for change, message in (
        ({"enhanced": {"planes": "zyx"}}, r"enhanced\.planes"),
        ({"enhanced": {}, "features": {"ndim": 3}}, r"features\.ndim is 3"),
    ):
        with pytest.raises(SettingsError, match=message):
            validated(AdaptConfig, plain | change, "test")
