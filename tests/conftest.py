"""What all tests share: one thread, and small settings."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy loads: tests run in parallel processes

from functools import cache
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from pipeline import tasks

ROOT = Path(__file__).parent.parent
YAML_1_2 = YAML(typ="safe", pure=True)


def pytest_configure(config):
    """One thread for the whole run: small tensors lose by more, and sums keep one order."""
    torch.set_num_threads(1)


@pytest.fixture
def two_threads():
    """Let torch use two threads during a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_params(tmp_path):
    """A function that writes tmp_path/params.yaml, the real one made small, and returns its path.

    Overrides go by full key path: small_params({"train.trials": 3}); a value of `...` removes the key.
    """

    def write(overrides=None):
        content = YAML_1_2.load((ROOT / "params.yaml").read_text())
        content["execution"]["workers"] = 1
        content["device"] = "cpu"
        content["train"] |= {"trials": 4, "epochs": 2, "early_epoch": 1, "hidden_size": [3, 5]}
        content["spectrum"] |= {"sequences": 2, "transient": 4, "steps": 12}
        for key, value in (overrides or {}).items():
            *sections, last = key.split(".")
            place = content
            for section in sections:
                place = place[section]
            if value is ...:
                del place[last]
            else:
                place[last] = value
        path = tmp_path / "params.yaml"
        YAML_1_2.dump(content, path)
        return path

    return write


@pytest.fixture(scope="session")
def prepared():
    """A function from a task's name to its packaged data, read once."""
    return cache(lambda name: tasks.get(name).prepare(name, "packaged", 2026))
