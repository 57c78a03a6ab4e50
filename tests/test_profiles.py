"""profiles/: each is a params.yaml in full, named like its study."""

from pathlib import Path

import pytest

from pipeline import config

PROFILES = sorted((Path(__file__).parent.parent / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.stem)
def test_profile_is_valid_and_its_study_is_named_like_its_file(path):
    assert config.load(path).study == path.stem


def test_there_are_profiles():
    assert "wide" in [path.stem for path in PROFILES]
