"""The template of settings."""

from pathlib import Path

import pytest

from shallow2deep.commands.init import write_template
from shallow2deep.errors import InputError
from shallow2deep.settings import EnhancerTrainConfig, read_yaml, validated


def test_template_holds_the_defaults(tmp_path: Path) -> None:
    path = write_template(tmp_path / "enhancer.yaml")
    config = validated(EnhancerTrainConfig, read_yaml(path), str(path))
    plain = EnhancerTrainConfig(sources=config.sources)
    assert config == plain
    with pytest.raises(InputError, match="exists"):
        write_template(path)
