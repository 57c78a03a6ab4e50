"""Heads against their affine maps written out by hand."""

import pytest
import torch

from pipeline import heads
from pipeline.errors import ConfigError

OUTPUTS = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[-1.0, 0.5], [0.0, 8.0]]])  # (T = 2, B = 2, H = 2)
PARAMS = {"weight": torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), "bias": torch.tensor([0.0, 1.0, -1.0])}
ANSWERS = [[[1.0, 5.0, 2.0], [3.0, 9.0, 6.0]], [[-1.0, 2.0, -1.5], [0.0, 17.0, 7.0]]]


def test_every_reads_each_step_out():
    assert heads.get("every")(2, 3).read(PARAMS, OUTPUTS).tolist() == ANSWERS


def test_last_reads_the_last_step_out():
    assert heads.get("last")(2, 3).read(PARAMS, OUTPUTS).tolist() == ANSWERS[-1]


def test_unknown_head_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="no head 'first' in pipeline/heads; there are every, last"):
        heads.get("first")
