"""Learning rates by step."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shallow2deep.errors import SettingsError
from shallow2deep.settings import Change, SegmentorSettings, TrainingSettings, validated
from shallow2deep.training.schedules import factor_of, rate_set_at
from shallow2deep.training.segments import segments

NAMES = ("cosine", "exponential", "steps", "constant")


def settings(**values: Any) -> TrainingSettings:
    rates = {"rates": ((50, 3e-4), (80, 1e-5))} if values.get("schedule") == "steps" else {}
    return TrainingSettings.model_validate({"steps": 100, "learning_rate": 1e-2, **rates, **values})


@given(st.sampled_from(NAMES), st.integers(0, 40))
def test_rates_rise_in_the_warm_up_and_never_again(schedule: str, warm_up: int) -> None:
    factor = factor_of(settings(schedule=schedule, warm_up=warm_up))
    found = [factor(step) for step in range(100)]
    assert all(0 <= value <= 1 for value in found)
    assert all(a < b for a, b in pairwise(found[:warm_up]))
    assert all(a >= b for a, b in pairwise(found[warm_up:]))
    assert found[max(warm_up - 1, 0)] == pytest.approx(1)


def test_known_rates() -> None:
    cosine = factor_of(settings())
    assert [cosine(0), cosine(5), cosine(100)] == pytest.approx([0.2, 1, 0])
    exponential = factor_of(settings(schedule="exponential", decay=0.01))
    assert [exponential(0), exponential(50), exponential(100)] == pytest.approx([1, 0.1, 0.01])
    steps = factor_of(settings(schedule="steps"))
    assert [1e-2 * steps(step) for step in (0, 49, 50, 79, 80, 99)] == pytest.approx(
        [1e-2, 1e-2, 3e-4, 3e-4, 1e-5, 1e-5]
    )


@given(st.floats(0.1, 0.99), st.integers(2, 20))
def test_exponential_is_that_of_torch(gamma: float, steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    peer = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)
    own = factor_of(settings(schedule="exponential", steps=steps, decay=gamma**steps))
    for step in range(steps):
        assert own(step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()


def test_a_rate_that_is_set_by_hand_holds_until_the_next_of_the_list() -> None:
    change = Change(stage="enhancer", step=60, learning_rate=1e-3)
    plain = settings(schedule="steps")
    parts = segments(plain, [change, Change(stage="enhancer", step=70, batch=2)])
    assert [rate_set_at(parts, step) for step in (0, 59, 60, 90)] == [0, 0, 60, 60]
    by_hand = factor_of(parts[1].settings, rate_set_at(parts, 60))
    assert [1e-3 * by_hand(step) for step in (60, 79, 80)] == pytest.approx([1e-3, 1e-3, 1e-5])


@pytest.mark.parametrize(
    ("model", "values", "problem"),
    [
        (TrainingSettings, {"schedule": "steps"}, "belong together"),
        (TrainingSettings, {"rates": ((5, 1e-3),)}, "belong together"),
        (TrainingSettings, {"schedule": "steps", "rates": ((5, 1), (3, 1))}, "order of their steps"),
        (TrainingSettings, {"loss": {}}, "loss"),
        (TrainingSettings, {"loss": {"dice": -1}}, "loss"),
        (TrainingSettings, {"optimizer": "adadelta"}, "optimizer"),
        (SegmentorSettings, {"schedule": "plateau"}, "a segmentor has none of"),
    ],
)
def test_settings_that_do_not_fit(model: Any, values: dict, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        validated(model, values, "test")
