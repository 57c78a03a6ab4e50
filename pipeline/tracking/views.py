"""What the UI shows first: the experiments' descriptions, named views of their runs, and the links to them."""

import json
from collections.abc import Iterable
from typing import Any

TRIALS, STAGES = "rnn-stability trials", "rnn-stability stages"


def tags(experiment: str) -> dict[str, str]:
    return {}


def links(base="http://127.0.0.1:5000"):
    return []
