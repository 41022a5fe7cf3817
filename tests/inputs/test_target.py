"""What an adaptation reads besides strokes: dense labels, and pixel sizes beside the enhancer's."""

from types import SimpleNamespace

import pytest
from tiny import Data

from shallow2deep.inputs.images import open_images
from shallow2deep.inputs.target import _compare_pixel_sizes, _open_labels
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import Output
from shallow2deep.settings import EnhancedSettings, NetworkSettings, TargetData


def test_labels_are_matched_by_name(data: Data) -> None:
    images = open_images(
        TargetData(raw=[f"{data.folder}/target{n}_raw.png" for n in (2, 0)], strokes=("x",)), 2
    )
    labels = tuple(f"{data.folder}/target{n}_labels.png" for n in (0, 2))
    target = TargetData(raw=("x",), strokes=("x",), labels=labels)
    assert [v.name for v in _open_labels(target, 2, images)] == [labels[1], labels[0]]


@pytest.mark.parametrize(("pixel", "advice"), [(10, ""), (5, ""), (14, ""), (3, "[0.3]"), (20, "[2]")])
def test_pixel_sizes_that_the_scales_do_not_reach(
    pixel: float, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    network = NetworkSettings(features=4, depth=1, stem=1)
    model = ModelSpec.of("enhancer", (Output(None),), network, voxel_size=(10.0, 10.0))
    config, image = SimpleNamespace(enhanced=EnhancedSettings()), SimpleNamespace(voxel_size=(pixel, pixel))
    _compare_pixel_sizes(config, model, image)
    assert caplog.text.endswith(f"enhanced.scales={advice}\n" if advice else "")
    assert bool(caplog.text) == bool(advice)
