"""Looks change what they say and nothing else."""

import numpy as np
import pytest

from shallow2deep.forests.looks import Look
from shallow2deep.settings import ForestsSettings

SPAN, DEVIATION = (0.0, 200.0), 50.0


def seen(look: Look, raw: np.ndarray, exposure: float = 0.0) -> np.ndarray:
    return look.of(raw, SPAN, DEVIATION, np.random.default_rng(1), exposure)


def image() -> np.ndarray:
    y, x = np.indices((60, 80))
    return (100 + 80 * np.sin(y / 9) * np.cos(x / 7)).astype(np.uint8)


def test_a_plain_look_is_the_image_itself() -> None:
    raw = image()
    assert seen(Look(), raw) is raw


@pytest.mark.parametrize("zoom", [0.5, 1.7])
def test_zoom_moves_raw_and_labels_alike(zoom: float) -> None:
    look, raw = Look(zoom=zoom), image()
    zoomed, labels = seen(look, raw), look.zoomed((raw > 120).astype(np.uint8), 0)
    assert zoomed.shape == labels.shape == (round(60 * zoom), round(80 * zoom))
    assert np.mean((zoomed > 120) == labels) > 0.95
    assert set(np.unique(labels)) == {0, 1}


def test_noise_blur_gamma_and_exposure() -> None:
    raw = image()
    assert np.std(seen(Look(noise=0.5), raw) - raw) == pytest.approx(0.5 * DEVIATION, rel=0.05)
    assert np.abs(np.diff(seen(Look(blur=2.0), raw))).mean() < np.abs(np.diff(raw.astype(float))).mean()
    bent = seen(Look(gamma=2.0), raw)
    np.testing.assert_allclose(bent, 200 * (raw / 200.0) ** 2, rtol=1e-4)
    exposed = seen(Look(), raw, exposure=0.2)
    slope, offset = np.polyfit(raw.ravel(), exposed.ravel(), 1)
    np.testing.assert_allclose(exposed, slope * raw + offset, atol=1e-2)
    assert abs(slope - 1) > 0.01


def test_looks_are_drawn_within_the_settings() -> None:
    settings = ForestsSettings(noise=(0.1, 0.2), blur=(0, 1.5), gamma=0.3, zoom=(0.5, 2))
    looks = [Look.drawn(settings, np.random.default_rng(n)) for n in range(200)]
    assert {look.noise for look in looks} == {0.1, 0.2}
    assert {look.blur for look in looks} == {0, 1.5}
    zooms = [look.zoom for look in looks]
    assert 0.5 <= min(zooms) < 0.6 < 1.8 < max(zooms) <= 2
    assert np.std([np.log(look.gamma) for look in looks]) == pytest.approx(0.3, rel=0.2)
    assert Look.drawn(ForestsSettings(), np.random.default_rng(0)).is_plain
