"""The templates of settings."""

import re
from pathlib import Path

import pytest

from shallow2deep.commands.init import write_template
from shallow2deep.errors import InputError
from shallow2deep.settings import CONFIGS, SegmentorSettings, merged, parsed, read_yaml, validated


@pytest.mark.parametrize("command", CONFIGS)
def test_a_template_holds_the_defaults(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As comments, so that they do not override the user's file; which are true, too."""
    monkeypatch.chdir(tmp_path)
    path, model = write_template(command=command), CONFIGS[command]
    plain = validated(model, read_yaml(path), str(path))
    text = re.sub(r"^# (?=[a-z ]+:|[a-z_ ]+:)", "", path.read_text(), flags=re.MULTILINE)
    assert "# seed" not in text
    full = parsed(text)
    sections = {
        name: None
        for name in ("features", "segmentor", "source_net", "objects")
        if getattr(plain, name, 0) is None
    }
    stated = validated(model, merged(full, sections | read_yaml(path)), "uncommented")
    assert stated == plain
    assert full.keys() == model.model_fields.keys()
    if command == "adapt":
        assert SegmentorSettings.model_validate(full["segmentor"]) == SegmentorSettings()
    with pytest.raises(InputError, match="exists"):
        write_template(path, command)


def test_a_command_without_settings_has_no_template() -> None:
    with pytest.raises(InputError, match="status takes no file of settings; give adapt or enhancer-train"):
        write_template(command="status")
