"""The next character of English prose, predicted at each step (as in Karpathy, Johnson and Li 2015)."""

import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import DataError
from ..core.files import save_text
from .base.classification import Classification, one_hot_vectors
from .base.task import DOWNLOADS, Splits, blocks

STEPS = {"packaged": 50, "long": 125, "full": 50}
BLOCKS, SHARES = 20, (14, 3, 3)  # blocks of text: in total, and for training, validation and test
LIMITS = {  # largest number of sequences of each split
    "packaged": (3200, 600, 600),
    "long": (3200, 600, 600),
    "full": (None, None, None),
}
WAR_AND_PEACE = "https://www.gutenberg.org/cache/epub/2600/pg2600.txt"


class EnglishCharacters(Classification):
    """Text of CPython's language reference (`pydoc_data.topics`), or of War and Peace.

    The long form cuts the same blocks of text into passages of 125 characters. This gives about 2,000 passages for training,
    and 430 each for validation and test.
    """

    title: ClassVar = "English prose, next character"
    description: ClassVar = (
        "The inputs are characters of prose, one after the other; after each, the network must predict the next one."
    )
    head: ClassVar = "every"
    batch_size: ClassVar = 50
    sizes: ClassVar = ("packaged", "long", "full")

    def load(self, size: str, seed: int) -> Splits:
        """Inputs of character numbers (T, N), and targets one character later; 0 is any character not seen in training."""
        text, source, licence = _full() if size == "full" else _packaged()
        places = blocks(len(text), BLOCKS, SHARES, seed)
        characters = sorted({c for b in places["train"] for c in text[b]})
        number = {c: i for i, c in enumerate(characters, start=1)}
        arrays = {}
        for (name, spans), limit in zip(places.items(), LIMITS[size], strict=True):
            inputs, targets = _cut(text, spans, number, STEPS[size])
            chosen = _chosen(inputs.shape[1], limit, seed, shuffled=name == "train")
            arrays[f"{name}_inputs"], arrays[f"{name}_targets"] = inputs[:, chosen], targets[:, chosen]
        notes = {"characters": len(text), "vocabulary": "".join(characters)}
        return Splits(arrays, len(characters) + 1, len(characters) + 1, source, licence, notes)

    def encode(self, inputs: Tensor, input_size: int) -> Tensor:
        """One-hot vectors (T, B, I) of character numbers (T, B)."""
        return one_hot_vectors(inputs, input_size)


def _cut(text: str, spans: list[slice], number: dict[str, int], steps: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sequences (steps, N) that do not overlap, in natural order, and the same sequences one character later."""
    inputs, targets = [], []
    for span in spans:
        codes = np.array([number.get(c, 0) for c in text[span]], dtype=np.uint8 if len(number) < 256 else np.int32)
        count = (len(codes) - 1) // steps
        inputs.append(codes[: count * steps].reshape(count, steps).T)
        targets.append(codes[1 : count * steps + 1].reshape(count, steps).T)
    return np.concatenate(inputs, axis=1), np.concatenate(targets, axis=1)


def _chosen(count: int, limit: int | None, seed: int, *, shuffled: bool) -> NDArray[Any]:
    """Indices of the sequences kept: a random subset if `shuffled`, otherwise the first ones, in order within each block."""
    if limit is None or count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:limit]) if shuffled else np.arange(limit)


def _packaged() -> tuple[str, str, str]:
    import platform
    from pydoc_data.topics import topics

    source = f"pydoc_data.topics of CPython {platform.python_version()}, topics in sorted order, no line twice"
    return _each_line_once("\n".join(topics[name] for name in sorted(topics))), source, "PSF-2.0"


def _each_line_once(text: str) -> str:
    """The text without repetitions of lines of 20 characters or more.

    Topics repeat one another's sections: otherwise, 38 % of the validation passages would occur verbatim in the training text.
    """
    seen: set[str] = set()
    kept = []
    for line in text.split("\n"):
        if len(line) < 20 or line not in seen:
            kept.append(line)
        seen.add(line)
    return "\n".join(kept)


def _full() -> tuple[str, str, str]:
    path = Path(DOWNLOADS) / "war_and_peace.txt"
    if not path.exists():
        try:
            with urllib.request.urlopen(WAR_AND_PEACE, timeout=60) as answer:
                content = answer.read().decode("utf-8-sig")
        except (OSError, HTTPException, UnicodeDecodeError) as error:
            raise DataError(
                f"cannot download War and Peace from {WAR_AND_PEACE} ({error}); connect to the network, save it as {path}, "
                "or set prepare.size to packaged"
            ) from None
        save_text(path, content)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = ""  # rejected below, like any other file that is not the book
    start, end = text.find("*** START"), text.find("*** END")
    if start < 0 or end < start:
        raise DataError(f"{path} is not Project Gutenberg's text 2600; delete it to download it again")
    return text[text.index("\n", start) : end].strip(), "War and Peace, Project Gutenberg 2600", "public domain in the USA"
