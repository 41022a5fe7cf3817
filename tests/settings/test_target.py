"""Settings of adapt."""

from pathlib import Path

import pytest
from ilp_file import adapt_config

from shallow2deep.errors import InputError


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"slices": "0:4"}, "slices has no meaning"),
        ({"channel": 1}, "channel is that of probabilities"),
    ],
)
def test_settings_without_a_meaning_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        adapt_config(Path("enhancer"), {"ilp": "project.ilp"} | setting)


def test_a_run_cannot_ask_to_be_trusted() -> None:
    with pytest.raises(InputError, match='unknown setting "trust"'):
        adapt_config(Path("enhancer"), {"ilp": "project.ilp"}, trust=True)
