"""Settings that cannot be, or that look as if they could not: what params.yaml would say, and the key that the answer names."""

import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from pipeline.core import config
from pipeline.core.errors import PipelineError
from pipeline.core.records import TaskInfo
from pipeline.tasks import driving_sequences
from pipeline.training import draw

LIMIT = 10  # seconds, after which something hangs
REMOVED = "..."


@dataclass(frozen=True)
class Setting:
    """Settings that differ from those of params.yaml.

    Attributes:
        changes: path of a key -> its value as the file has it, or REMOVED.
        key: what the sentence should name, by default the one path.
        reason: why it is accepted, if it is.
        text: all of the file, instead.
        shown: what the page shows, by default the changes.
    """

    changes: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    reason: str = ""
    text: str = ""
    shown: str = ""

    @property
    def name(self) -> str:
        """The entry on the page."""
        return self.shown or ", ".join(f"{key}: {value}" for key, value in self.changes.items())

    @property
    def named(self) -> str:
        """What the sentence names."""
        return self.key or next(iter(self.changes), "params.yaml")


def one(key: str, *values: str, named: str = "", reason: str = "") -> list[Setting]:
    """One wrong value of a key at a time."""
    return [Setting({key: value}, named, reason) for value in values]


PAIRS = list(zip("abcdefgh", "bcdefghi", strict=True))
BOMB = "a: &a [0,0,0,0,0,0,0,0,0]\n" + "".join(f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in PAIRS)
MERGES = "a: &a {x: 1}\n" + "".join(f"{n}: &{n} {{<<: [{','.join([f'*{p}'] * 9)}]}}\n" for p, n in PAIRS)

FILES = [
    Setting(text="", shown="an empty file"),
    Setting(text="- 1\n", shown="a list"),
    Setting(text="seed: [1\n", shown="seed: [1"),
    Setting(text="\tseed: 1\n", shown="a tab in place of spaces"),
    Setting(text="seed: 1\nseed: 2\n", key="seed", shown="seed twice"),
    Setting(text="train:\n  epochs: 1\n  trials: 2\n  epochs: 3\n", key="line 4", shown="train.epochs twice, in lines 2 and 4"),
    Setting(text="seed: 1\n---\nseed: 2\n", shown="two documents"),
    Setting(text=BOMB, shown="nested aliases, 9^9 numbers in all"),
    Setting(text=MERGES, shown="nested merges of aliases"),
    Setting(text="a: &a [*a]\n", shown="a: &a [*a]"),
    Setting(text="a: " + "[" * 3000 + "]" * 3000, shown="3,000 nested lists"),
    Setting(text="a: " + "{a: " * 3000 + "}" * 3000, shown="3,000 nested mappings"),
    Setting(text="- " * 30_000, shown="30,000 nested lists in blocks"),
    Setting(text="# " + "x" * 10_000_000, shown="10 MB"),
    Setting(text="a: 1\n" + "".join(f"key_{n}: 1\n" for n in range(4000)), key="a is unknown", shown="4,000 unknown keys"),
    Setting(text='"a\\nb": 1\n', key="a\\nb", shown="a key with a line break"),
    Setting(text="seed: !!python/object:os.system {}\n", key="line 1", shown="seed: !!python/object:os.system {}"),
    Setting(text="seed: \x00\n", shown="a NUL"),
]

NUMBERS = [
    *one("seed", "one", "-1", "4294967296", "1.5", "true", "null", "[1]", "1e3", ".inf", "0x1F", "0o17", "017", "1_000", "1:30"),
    *one("seed", "2026-01-01", "on", '"5"'),
    Setting({"seed": "5" * 5000}, shown="seed: 5,000 digits"),
    *one("train.trials", "0", "-3", "2.0", "1000000000", "1:30", "1_000", "1e2", "true"),
    *one("train.repeated", "-1", "2000000", named="repeated"),
    *one("train.repeated", "30", named="repeated"),
    *one("train.epochs", "0", "1000000000", "1e9"),
    *one("train.early_epoch", "0"),
    *one("train.early_epoch", "7", named="early_epoch"),
    *one("train.init_scale.low", "0", "-0.1", "1e-300", ".nan"),
    *one("train.init_scale.high", "1e300", ".inf", "1001", "1e999"),
    *one("train.init_scale.high", "0.001", named="train.init_scale: low"),
    *one("train.init_scale", "0.5", "[0.1, 0.5]", "{low: 0.1}", "null"),
    *one("train.learning_rate.high", "1e4", "fast"),
    *one("train.hidden_size", "[0]", "[10000000]", "[16, -1]", "[16.5]", "[]", "16", "[1:30]", "[true]", "[null]", "[[16]]"),
    *one("train.hidden_size", "[16, 16]", reason="a choice that repeats is drawn more often"),
    *one("train.clip_norm", "[-1.0]", "[.inf]", "[1e10]", "[none]"),
    *one("train.dropout", "[1.0]", "[-0.1]", "[50]"),
    *one("train.weight_decay", "[-0.1]", "[1e4]"),
    *one("train.batch_size", "[0]", "[1000000000]", "[own]", "[2.5]"),
    *one("spectrum.sequences", "1", "1000000000"),
    *one("spectrum.transient", "-1", "1000000000"),
    *one("spectrum.steps", "7", "1000000000"),
    *one("fixed_points.seeds", "0", "1000000000"),
    *one("fixed_points.tolerance", "0", "-1e-9", "10", ".nan"),
    *one("fixed_points.iterations", "0", "1000000000"),
    *one("success.threshold", "0", "1.0", "80"),
    *one("predictor.bootstrap", "99", "1000000000"),
]

NAMES = [
    *one("study", "My Study", "../x", '""', "7th", "ünïcode", '"a\\nb"', "a" * 65),
    *one("tasks", "[../../x]", "[/etc/passwd]", "[__init__]", "[base]", "[con]", '["mnist_rows\\0"]', '["mnist_rows\\n"]', "[]"),
    *one("tasks", "[mnist_r\u043ews]", "[MNIST_ROWS]", "mnist_rows", "[mnist_rows, mnist_rows]", "[1]"),  # a Cyrillic o
    *one("cells", "[../elman]", "[base]", "[lstn]", "[lstm, lstm]", "[null]", "{elman: 1}"),
    *one("train.head", "[../last]", "[base]", "[]", "last"),
    *one("train.optimiser", "[adam]", "[../x]"),
    *one("train.initialisation", "[zeros]"),
    *one("train.state", "stateles", "[stateless]"),
    *one("device", "gpu", "cuda:0", "null"),
    *one("execution.engine", "slurm", "dask", "null"),
    *one("execution.address", "10.0.0.1", "ray://10.0.0.1:10001", "http://x:1", "host:123456"),
    *one("execution.workers", "0", "-1", "1000000000", "two"),
    *one("execution.cpus", "0", "1.5"),
    *one("execution.gpus", "-1", ".nan", "2000", "half"),
    Setting({"device": "cuda", "execution.engine": "ray"}, key="execution.gpus"),
    *one("prepare.size", "huge"),
    *one("train", "3", "null"),
    *one("spectrum", REMOVED),
    *one("train.trails", "3"),
    *one("train.epochs", REMOVED),
]

CONTRADICTIONS = [
    Setting({"tasks": "[adding]", "cells": "[elman]", "train.trials": "1"}, "train.trials"),
    Setting({"tasks": "[adding]", "cells": "[elman, gru, lstm]", "train.trials": "1"}, "train.trials"),
    Setting(
        {"tasks": "[adding]", "cells": "[elman]", "train.trials": "4"},
        reason="four trials are enough for a predictor: each is left out once",
    ),
    *one("train.options", "{leaky: {leak: [0.3]}}", named="train.options.leaky"),
    *one("train.options", "{leeky: {leak: [0.3]}}", "[leaky]", "{elman: 3}"),
    *one("train.options", "{elman: {nonlinearity: tanh}}", named="train.options.elman.nonlinearity"),
    *one("train.options", "{elman: {nonlinearity: {low: 1e-300, high: 1}}}", named="train.options.elman.nonlinearity"),
    *one("train.options", "{elman: {leak: [0.3]}}", named="train.options.elman"),
    *one("train.options", "{elman: {nonlinearity: [relu, on, 3]}}", named="train.options.elman.nonlinearity"),
    *one("train.options", "{elman: {nonlinearity: [../x]}}", named="train.options.elman"),
    *one("spectrum.sequences", "501"),
    *one("spectrum.steps", "20000"),
    *one("spectrum.transient", "3000"),
    *one("train.batch_size", "[50, 4001]"),
    *one("train.head", "[every]"),
    *one("train.head", "[every, default]", reason="each head is drawn for the tasks that it fits"),
    *one("train.state", "stateful", reason="it acts on tasks that are one series; the others have no state to carry over"),
]

SETTINGS = {"The file": FILES, "Numbers": NUMBERS, "Names": NAMES, "Contradictions": CONTRADICTIONS}

# What `prepare` says of the packaged images.
INFO = TaskInfo(
    task="mnist_rows", title="", description="", metric="accuracy", head="last", batch_size=50, ordered=False, size="packaged",
    input_size=28, output_size=10, steps=28, sequences={"train": 4000, "validation": 500, "test": 500}, chance=2.3, source="",
    licence="", hash="",
)  # fmt: skip

VALIDATION = np.empty((INFO.steps, INFO.sequences["validation"], 0))  # inputs, without their numbers


def said(setting: Setting) -> str | None:
    """The sentences that refuse a setting, when params.yaml is checked or when `train` begins; None if it is accepted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(setting.text or (written(setting.changes) if setting.changes else ""), "utf-8")
        try:
            settings = config.load(path=path)
            driving_sequences(VALIDATION, settings.spectrum.sequences, settings.spectrum.transient + settings.spectrum.steps)
            draw(settings, INFO, "cpu")
        except PipelineError as error:
            return str(error).replace(f"{folder}/", "")
    return None


def written(changes: Mapping[str, str]) -> str:
    """The text of params.yaml with some values as they are given."""
    return "\n".join(_lines(_default(), "", dict(changes))) + "\n"


@cache
def _default() -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(config.PARAMS.read_text("utf-8"))
    return content


def _lines(content: Mapping[str, Any], section: str, changes: Mapping[str, str]) -> Iterator[str]:
    new = [path.removeprefix(section) for path in changes if path.startswith(section)]
    for key in [*content, *(name for name in new if "." not in name and name not in content)]:
        path, value = f"{section}{key}", content.get(key)
        indent = "  " * section.count(".")
        if path in changes:
            yield from [f"{indent}{key}: {changes[path]}"] if changes[path] != REMOVED else []
        elif isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _lines(value, f"{path}.", changes)
        else:
            yield f"{indent}{key}: {json.dumps(value)}"


def timed(act: Callable[[], str | None]) -> tuple[str | None, float]:
    """What is said, and the seconds that it takes; TimeoutError after LIMIT seconds."""
    begin = time.perf_counter()
    with _limited():
        answer = act()
    return answer, time.perf_counter() - begin


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no answer after {LIMIT} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
