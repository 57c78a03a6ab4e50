import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from study import result as trial_result
from study import spectra as trial_spectra
from study import study as made_trials

from pipeline import config
from pipeline.artefacts import save_json, save_table
from pipeline.predictor import evaluation, features
from pipeline.predictor.inputs import SETS
from pipeline.report import bands, dynamics, evidence, findings, page, provenance, results
from pipeline.report.figures import cell_marks, png, trial_spectrum
from pipeline.report.study import Study, time_by_kind, time_text, timings_in, trials_by_group

FACTS = {"date": "2001-02-03", "commit": "0123abcd", "torch": "9.8.7"}
TIMINGS = [
    {"stage": "prepare-mnist_rows", "seconds": 10.0},
    {"stage": "train-mnist_rows-elman", "seconds": 60.0, "tracking_seconds": 6.0},
    {"stage": "train-mnist_rows-gru", "seconds": 20.0},
    {"stage": "train-mnist_rows-lstm", "seconds": 999.0},  # no cell of these studies
    {"stage": "report", "seconds": 10.0},
]
VOID = {"meta", "img", "br", "link", "hr", "input"}


def answers(inputs, splits, noise):
    """Out-of-sample answers of every set of inputs: the truth plus noise, its size by set."""
    random = np.random.default_rng(0)
    parts = []
    for split in splits:
        for name in SETS:
            error = random.normal(0, noise.get(name, 0.2), len(inputs))
            expected = np.clip(inputs["score"] + error, 0, 1)
            group = {"one cell left out": inputs["cell"], "one task left out": inputs["task"]}.get(split, "fold 1")
            known = {"split": split, "features": name, "group": group, "score_model": "Ridge", "success_model": "Ridge"}
            drops = {f"drop {family}": 0.1 for family in evaluation.FAMILIES}
            parts.append(inputs.assign(expected_score=expected, probability=expected, **known, **drops))
    return pd.concat(parts, ignore_index=True)


def study_of(settings, results, spectra, splits, noise=None):
    table = features.table(results, spectra, settings.success.threshold)
    inputs = table[table["checkpoint"] == "final"][["trial", "task", "cell", "score", "success"]].reset_index(drop=True)
    predictions = answers(inputs, splits, noise or {})
    about = {
        "description": "Count <b>&amp;</b> recall.",
        "size": "packaged",
        "source": "made-for-tests",
        "licence": "CC0",
        "hash": "abcdef012345" * 2,
        "steps": 10,
        "input_size": 2,
        "output_size": 1,
        "sequences": {"train": 101, "validation": 55, "test": 44},
        "chance": 2.0,
    }
    tasks = {task: about | {"title": f"Made {task}"} for task in settings.tasks}
    with np.errstate(invalid="ignore"):  # scores that are all alike have no R2
        judged = evaluation.summarise(predictions, settings.predictor, settings.seed)
    return Study(settings, tasks, results, spectra, table, predictions, judged, TIMINGS)


def settings_of(tmp_path_factory, tasks, cells):
    text = (config.Path(__file__).parent.parent / "params.yaml").read_text()
    text = re.sub(r"(?m)^tasks:.*$", f"tasks: [{', '.join(tasks)}]", text)
    text = re.sub(r"(?m)^cells:.*$", f"cells: [{', '.join(cells)}]", text)
    text = re.sub(r"(?m)^  bootstrap:.*$", "  bootstrap: 100", text)
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(text)
    return config.load(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two tasks and two cells, with a diverged trial, lost exponents, a loss of 1e6 and an infinite one."""
    tasks, cells = ("mnist_rows", "fulda_runoff"), ("elman", "gru")
    results, spectra = made_trials(trials=6, tasks=tasks, cells=cells)
    results[0] = trial_result([2.0, np.nan, np.nan, np.nan], diverged=True, **results[0].trial)
    results[1] = trial_result([2.0, 1e6, np.inf, 2e6], **results[1].trial)
    lost = np.tile([0.1, -1.0, -20.0, -np.inf], (3, 2, 1))
    spectra[0] = trial_spectra(np.where([[[True]], [[False]], [[False]]], lost, np.nan), **spectra[0].trial)
    spectra[1] = trial_spectra(lost, **spectra[1].trial)
    settings = settings_of(tmp_path_factory, tasks, cells)
    return study_of(settings, results, spectra, evaluation.SPLITS, {"all": 0.02, "all but spectra": 0.1})


@pytest.fixture(scope="module")
def lonely(tmp_path_factory):
    """One task and one cell, all trials diverged: two splits are missing and no measure is defined."""
    results, spectra = made_trials(trials=4, tasks=("mnist_rows",), cells=("elman",))
    results = [trial_result([2.0, np.nan, np.nan, np.nan], diverged=True, **r.trial) for r in results]
    spectra = [trial_spectra(np.full((3, 2, 4), np.nan), **s.trial) for s in spectra]
    return study_of(settings_of(tmp_path_factory, ("mnist_rows",), ("elman",)), results, spectra, evaluation.SPLITS[:1])


def written(study, folder):
    page.write(study, FACTS, folder)
    return folder, (folder / "index.html").read_text()


@pytest.fixture(scope="module")
def report(whole, tmp_path_factory):
    return written(whole, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def lonely_report(lonely, tmp_path_factory):
    return written(lonely, tmp_path_factory.mktemp("lonely"))


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps attributes, text and the cells of each table's row."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.words, self.rows = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.rows and self.rows[-1] and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def row(self, *begin):
        (found,) = [r for r in self.rows if tuple(r[: len(begin)]) == begin]
        return found


def colours(image):
    return len(Image.open(io.BytesIO(image)).convert("RGB").getcolors(1 << 24))


# The page


@pytest.mark.parametrize("name", ["report", "lonely_report"])
def test_the_page_is_well_formed(name, request):
    reader = Reader(request.getfixturevalue(name)[1])
    assert reader.open == []
    ids = [value for _, attribute, value in reader.attributes if attribute == "id"]
    assert len(ids) == len(set(ids)) > 5


def test_the_reader_of_these_tests_sees_an_open_tag():
    assert Reader("<p><b>x</b>").open == ["p"]
    with pytest.raises(AssertionError):
        Reader("<p><b>x</p></b>")


@pytest.mark.parametrize("name", ["report", "lonely_report"])
def test_the_page_stands_alone(name, request):
    text = request.getfixturevalue(name)[1]
    reader = Reader(text)
    sources = [value for _, attribute, value in reader.attributes if attribute in ("src", "href", "srcset", "data", "action")]
    assert sources
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert "url(" not in text
    assert "@import" not in text
    assert not any(tag == "script" for tag, _, _ in reader.attributes)


def test_every_figure_is_a_picture_on_disk_and_in_the_page_with_words_for_those_who_cannot_see_it(report):
    folder, text = report
    files = {path.stem: path.read_bytes() for path in (folder / "figures").iterdir()}
    images = re.findall(r'<figure id="(\w+)">\s*<img src="data:image/png;base64,([^"]+)" alt="([^"]{20,})">', text)
    assert {name: base64.b64decode(data) for name, data, _ in images} == files
    assert len(files) == 11
    assert all(data.startswith(b"\x89PNG") for data in files.values())
    assert min(colours(data) for data in files.values()) > 20


def test_a_missing_split_leaves_its_part_out(report, lonely_report):
    assert "Cells and tasks never seen" in Reader(report[1]).text
    reader = Reader(lonely_report[1])
    assert "Cells and tasks never seen" not in reader.text
    assert "One task left out" not in reader.text
    assert "These trials do not tell" in reader.text
    assert reader.row("Made mnist_rows", "elman")[2:5] == ["4", "4", "0"]


def test_the_page_holds_the_numbers_of_its_data(report, whole):
    reader = Reader(report[1])
    final = whole.final
    good = int(final["success"].sum())
    assert f"{len(final)} trials, 1 of them diverged" in reader.text
    assert f"{good} ({100 * good / len(final):.0f} %) successes" in reader.text
    losses = [
        r.curves["validation_loss"][-1] for r in whole.trials if r.trial["task"] == "fulda_runoff" and r.trial["cell"] == "gru"
    ]
    (row,) = [r for r in reader.rows if r[:1] == ["gru"] and f"{min(losses):.3f}" in r]
    assert row[1:3] == ["6", "0"]
    assert reader.row("Made fulda_runoff", "10", "2")[3:] == ["1", "101", "55", "44", "2.000"]
    for value in ("made-for-tests", "CC0", "abcdef012345", *FACTS.values(), "predictor.bootstrap"):
        assert value in reader.text


def test_the_evidence_is_printed_for_every_set_and_split_with_its_interval(report, whole):
    rows = Reader(report[1]).rows
    for row in whole.result["table"]:
        values = [f"{row[key]:.2f}" for key in ("r2", "r2_low", "r2_high")]
        value, low, high = ("0.00" if v == "-0.00" else v.replace("-", "\N{MINUS SIGN}") for v in values)
        names = (row["features"], f"{row['features']} spectra")
        assert any(r[0] in names and r[1] == f"{value}{low} to {high}" for r in rows), row


def test_text_of_the_data_is_not_read_as_html(report):
    assert "Count <b>" not in report[1]
    assert "Count <b>&amp;</b> recall." in Reader(report[1]).text


def test_figures_of_an_earlier_report_are_removed(whole, tmp_path, monkeypatch):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.png").touch()
    monkeypatch.setattr(page, "plates", lambda *_: iter(()))
    page.write(whole, FACTS, tmp_path)
    assert list((tmp_path / "figures").iterdir()) == []
    assert "<img" not in (tmp_path / "index.html").read_text()


# What it says


def champion(low, high):
    return {"rival": "early loss", "gain_r2": None if low is None else (low + high) / 2, "gain_r2_low": low, "gain_r2_high": high}


def added(low, high):
    """A result in which spectra add what lies between `low` and `high` to everything else."""
    pair = {"split": "over trials", "without": "all but spectra", "with": "all"}
    return {"gains": [pair | {k: v for k, v in champion(low, high).items() if k != "rival"}]}


def turned_gains(study, low, high):
    """The gains of a study, that of the fullest pair over trials replaced."""
    (new,) = added(low, high)["gains"]
    keys = ("split", "without", "with")
    return [g | new if all(g[k] == new[k] for k in keys) else g for g in study.result["gains"]]


def test_the_headline_turns_with_the_interval():
    said = [findings.headline(added(*ends)) for ends in ((0.01, 0.1), (-0.1, 0.1), (-0.1, -0.01), (None, None))]
    assert len(set(said)) == 4
    for sentence, word in zip(said, ("improve the", "nothing measurable", "worse", "do not tell"), strict=True):
        assert word in sentence


def test_the_page_prints_the_headline_of_its_own_champion(report, whole):
    assert findings.headline(whole.result) in Reader(report[1]).text
    worse = {"champion": champion(-0.3, -0.2) | {"beats_rival": False}, "gains": turned_gains(whole, -0.3, -0.2)}
    turned = replace(whole, result=whole.result | worse)
    text = page.html(turned, FACTS, findings.gains(turned.result), {})
    assert "worse" in Reader(text).text
    assert "\N{MINUS SIGN}0.25" in Reader(text).text


def gain(low, high, split="over trials", groups=None):
    row = {"split": split, "base": "early loss", "gain": (low + high) / 2, "low": low, "high": high, "groups": groups or {}}
    return pd.DataFrame([row])


@pytest.mark.parametrize(
    ("ends", "verb"),
    [((0.1, 0.3), "raise R2 by 0.20"), ((-0.3, -0.1), "lower R2 by 0.20"), ((-0.1, 0.5), "no measurable amount: +0.20")],
)
def test_a_gain_is_told_as_its_interval_allows(ends, verb):
    (sentence,) = findings.sentences(gain(*ends))
    assert verb in sentence
    assert sentence.startswith("Added to the early loss alone")


def test_the_parts_left_out_are_counted_one_by_one():
    (sentence,) = findings.consistency(gain(0.1, 0.3, "one cell left out", {"elman": 0.2, "gru": -0.1, "lstm": 0.3}))
    assert "2 of 3 (elman +0.20, gru \N{MINUS SIGN}0.10, lstm +0.30)" in sentence


def test_gains_are_those_of_the_evidence_and_by_group_the_difference_of_its_rows(whole):
    found = findings.gains(whole.result).set_index(["split", "base"]).loc[("one task left out", "all but spectra")]
    with_, without = (
        next(r for r in whole.result["table"] if (r["split"], r["features"]) == ("one task left out", name))
        for name in ("all", "all but spectra")
    )
    assert found["gain"] == pytest.approx(with_["r2"] - without["r2"], abs=1e-12)
    assert found["groups"] == {
        t: with_["by_group"][t]["r2"] - without["by_group"][t]["r2"] for t in ("fulda_runoff", "mnist_rows")
    }


def test_the_ranking_of_successes_is_told_when_it_speaks_against_spectra():
    table = [
        {"split": "over trials", "features": f, "auc": a}
        for f, a in (("early loss", 0.9), ("early loss and early spectrum", 0.7))
    ]
    assert "ahead in 0 of 1" in findings.ranking(table)
    assert "\N{MINUS SIGN}0.20" in findings.ranking(table)
    assert findings.ranking([row | {"auc": None} for row in table]) == ""


def groups_of(successes):
    """Cells a, b, c on tasks x, y, z with three trials each."""
    names = [(task, cell) for task in "xyz" for cell in "abc"]
    rows = [(*name, 3, count) for name, count in zip(names, successes, strict=True)]
    return pd.DataFrame(rows, columns=["task", "cell", "trials", "successes"])


def never(successes):
    return findings.never(groups_of(successes), {task: f"Task {task}" for task in "xyz"})


def test_pairs_of_cell_and_task_without_any_success_are_named():
    assert never([0, 3, 1, 1, 1, 1, 0, 0, 1]) == [
        "No trial succeeded with a on Task x; a or b on Task z.",
        "Every trial succeeded with b on Task x.",
    ]
    assert never([1] * 9) == []


def test_cells_and_tasks_that_never_succeeded_are_named_once_and_not_pair_by_pair():
    assert never([0, 1, 1, 0, 1, 0, 0, 0, 0]) == [
        "No trial succeeded on any task with a.",
        "No trial of any cell succeeded on Task z.",
        "No trial succeeded with c on Task y.",
    ]


def test_of_a_study_with_one_task_only_pairs_are_named():
    assert findings.never(groups_of([0, 1, 1] * 3)[:3], {"x": "Task x"}) == ["No trial succeeded with a on Task x."]


def test_of_many_parts_left_out_only_the_ends_are_listed():
    parts = {f"cell{i}": (i - 10) / 100 for i in range(20)}
    (sentence,) = findings.consistency(gain(0.1, 0.3, "one cell left out", parts))
    assert "9 of 20 (cell0 \N{MINUS SIGN}0.10, cell1" in sentence
    assert "cell10" not in sentence
    assert sentence.endswith("cell19 +0.09).")


def test_what_compressed_spectra_tell_is_said_beside_their_summaries():
    names = ("early spectrum", "principal components of the early spectrum", "learned code of the early spectrum")
    table = [{"split": "over trials", "features": n, "r2": r} for n, r in zip(names, (0.5, 0.25, -0.125), strict=True)]
    said = findings.codes(table)
    assert "over trials 0.50 from summaries, 0.25 from principal" in said
    assert "\N{MINUS SIGN}0.12 from a learned code" in said
    assert findings.codes(table[:2]) == ""


# Figures


def test_outliers_do_not_set_the_limits(whole):
    figure = dynamics.training_curves(whole.trials, whole.table, whole.titles, whole.settings.cells, 0.8)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low < 1 < high <= dynamics.WORST
    figure = dynamics.spectra(
        whole.spectra, dict.fromkeys(whole.final["trial"], True), "early", whole.titles, whole.settings.cells
    )
    assert all(axes.get_ylim()[0] >= -20 and axes.get_ylim()[1] < 1 for axes in figure.axes)


def test_a_trial_without_a_spectrum_is_counted_and_the_others_are_drawn(whole):
    success = dict(zip(whole.final["trial"], whole.final["success"], strict=True))
    figure = dynamics.spectra(whole.spectra, success, "final", whole.titles, whole.settings.cells)
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum("1 not finite" in text for text in said) == 1
    drawn = sum(np.isfinite(p.vertices).all() for axes in figure.axes for c in axes.collections for p in c.get_paths())
    assert drawn == len(whole.spectra) - 1


def test_dots_stand_at_the_values_of_the_evidence(whole):
    rows = pd.DataFrame(whole.result["table"]).assign(with_spectra=lambda t: t["features"].isin(["all"]))
    figure = evidence.strength(rows)
    for axes, split in zip(figure.axes, evaluation.SPLITS, strict=True):
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "os" and len(line.get_xdata()) == 1]
        assert sorted(dots) == pytest.approx(sorted(rows[rows["split"] == split]["r2"]))


def test_a_wilson_interval_ends_where_the_share_is_z_standard_errors_away():
    for share, count in ((0.0, 7), (0.3, 10), (1.0, 123)):
        for end in evidence.wilson(share, count, z=2.0):
            # the defining equation, squared; its error is that of rounding
            assert (share - end) ** 2 == pytest.approx(4 * end * (1 - end) / count, abs=1e-14)


def test_every_trial_is_in_one_bin_of_the_reliability_diagram():
    random = np.random.default_rng(0)
    probability = np.concatenate([random.uniform(0, 1, 300), [0.0, 1.0]])
    success = random.uniform(size=302) < probability
    bins = evidence.reliability(probability, success)
    assert bins["count"].sum() == 302
    assert (bins["count"] * bins["predicted"]).sum() == pytest.approx(probability.sum())
    assert (bins["count"] * bins["share"]).sum() == pytest.approx(success.sum())
    assert ((bins["low"] <= bins["share"]) & (bins["share"] <= bins["high"])).all()


def test_a_predictor_that_tells_nothing_apart_is_drawn_in_one_bin():
    bins = evidence.reliability(np.full(10, 0.25), np.arange(10) < 3)
    assert bins.to_dict("list") == {
        "predicted": [0.25],
        "share": [0.3],
        "low": [pytest.approx(0.108, abs=1e-3)],
        "high": [pytest.approx(0.603, abs=1e-3)],
        "count": [10],
    }


def many(trials, tasks, cells):
    """Table, results and spectra of a study with more tasks and cells than have a panel for each pair."""
    results, spectra = made_trials(trials=trials, tasks=tasks, cells=cells)
    return features.table(results, spectra, 0.8), results, spectra


@pytest.fixture(scope="module")
def crowd():
    tasks, cells = [f"task{i}" for i in range(3)], [f"cell{i:02d}" for i in range(20)]
    return *many(2, tasks, cells), {task: f"Title {task}" for task in tasks}, cells


def lines_in(axes):
    return sum(len(collection.get_paths()) for collection in axes.collections)


def test_of_many_cells_each_has_one_panel_with_all_its_spectra(crowd):
    table, _, spectra, tasks, cells = crowd
    figure = dynamics.spectra(spectra, dict.fromkeys(table["trial"], True), "early", tasks, cells)
    assert [axes.get_title("left") for axes in figure.axes] == cells
    assert [lines_in(axes) for axes in figure.axes] == [2 * len(tasks)] * 20


def test_of_many_cells_training_has_one_panel_a_task(crowd):
    table, results, _, tasks, cells = crowd
    figure = dynamics.training_curves(results, table, tasks, cells, 0.8)
    assert [axes.get_title("left") for axes in figure.axes] == list(tasks.values())
    assert [lines_in(axes) for axes in figure.axes] == [2 * len(cells)] * 3


def test_every_cell_of_many_has_a_look_of_its_own():
    looks = cell_marks([f"cell{i:02d}" for i in range(35)])
    assert len({tuple(look.items()) for look in looks.values()}) == 35


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_every_task_has_its_panels_whatever_their_number(count):
    tasks = {f"task{i:02d}": f"Title {i}" for i in range(count)}
    table, *_ = many(2, tuple(tasks), ("elman",))
    figure = dynamics.largest_exponent(table, tasks, ["elman"])
    assert len(figure.axes) == 2 * count
    assert sorted(axes.get_title("left") for axes in figure.axes if axes.get_title("left")) == sorted(tasks.values())
    dots = sum(len(c.get_offsets()) for axes in figure.axes for c in axes.collections if c.__class__.__name__ == "PathCollection")
    assert dots == 2 * count


def test_bands_are_the_quartiles_of_each_exponent_and_cells_stand_in_the_order_of_their_largest():
    """Three trials whose exponents are all 0, 1 or 2 times one number: quartiles are 0.5, 1 and 1.5 times that."""
    results, spectra = [], []
    for cell, unit in (("elman", -0.4), ("gru", -0.1), ("lstm", -0.2)):
        for index in range(3):
            results.append(trial_result(cell=cell, index=index))
            spectra.append(trial_spectra(np.full((3, 2, 4), index * unit), cell=cell, index=index))
    spectra[0] = trial_spectra(np.full((3, 2, 4), np.nan), cell="elman", index=0)
    table = features.table(results, spectra, 0.8)
    figure = bands.spectra_by_cell(table, ["elman", "gru", "lstm"])
    assert [axes.get_title("left") for axes in figure.axes] == ["gru", "lstm", "elman"]
    for axes, unit in zip(figure.axes[:2], (-0.1, -0.2), strict=True):
        assert [c.get_paths()[0].vertices[:, 1].min() for c in axes.collections] == pytest.approx([1.5 * unit] * 2)
        assert [c.get_paths()[0].vertices[:, 1].max() for c in axes.collections] == pytest.approx([0.5 * unit] * 2)
        assert axes.lines[-1].get_ydata() == pytest.approx(unit)
    assert [text.get_text() for text in figure.axes[2].texts] == ["2 not finite"]
    assert "\N{MINUS SIGN}0.60 (elman) to \N{MINUS SIGN}0.10 (gru)" in figure.get_suptitle()


# The page in docs


@pytest.mark.parametrize(("study", "names"), [("default", ("results.md", "")), ("wide", ("wide.md", "wide_"))])
def test_each_study_has_a_page_and_figures_of_its_own_in_docs(study, names, whole, tmp_path, monkeypatch):
    text = (config.Path(__file__).parent.parent / "params.yaml").read_text()
    for key, value in (("study", study), ("tasks", "[mnist_rows, fulda_runoff]"), ("cells", "[elman, gru]")):
        text = re.sub(rf"(?m)^{key}:.*$", f"{key}: {value}", text)
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for trial in whole.trials:
        trial.save(tmp_path / f"trials/{trial.trial['task']}-{trial.trial['cell']}" / f"{trial.trial['id']}.safetensors")
    save_json(tmp_path / "metrics/predictor.json", whole.result)
    save_json(tmp_path / "timings/train-mnist_rows-elman.json", TIMINGS[1])
    save_table(tmp_path / "features/features.parquet", whole.table)
    (tmp_path / "report/figures").mkdir(parents=True)
    (tmp_path / "report/figures/spectra.png").write_bytes(b"picture")
    (tmp_path / "docs").mkdir()
    results.main()
    page_, prefix = names
    said = (tmp_path / "docs" / page_).read_text()
    assert said.startswith(f"# Results of the {study} study\n")
    assert f"]({prefix}spectra.png)" in said
    assert (tmp_path / f"docs/{prefix}spectra.png").read_bytes() == b"picture"
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {page_, f"{prefix}spectra.png"}
    for sentence in findings.never(trials_by_group(whole.table), {task: task for task in whole.settings.tasks}):
        assert sentence in said
    row = next(r for r in whole.result["table"] if r["features"] == "all")
    assert f"| {row['split']} | all | {row['r2']:.2f} ({row['r2_low']:.2f} to {row['r2_high']:.2f})" in said


# One trial


def plain_spectrum(value):
    return trial_spectra(np.full((3, 2, 4), value))


def test_a_trial_is_drawn_whatever_its_exponents_are():
    pictures = [trial_spectrum(trial_result(), plain_spectrum(value)) for value in (-1.0, -np.inf, np.nan, 1e3)]
    assert len(set(pictures)) == 4
    assert min(colours(p) for p in pictures) > 20
    size = {Image.open(io.BytesIO(p)).size for p in pictures}
    assert size == {(576, 342)}


def test_nothing_of_the_trial_before_is_left_in_the_picture():
    first = trial_spectrum(trial_result(), plain_spectrum(-1.0))
    trial_spectrum(trial_result(diverged=True), plain_spectrum(0.05))
    assert trial_spectrum(trial_result(), plain_spectrum(-1.0)) == first


def test_the_band_grows_with_the_standard_error():
    narrow, wide = (
        trial_spectrum(trial_result(), replace(plain_spectrum(-1.0), standard_error=np.full((3, 4), e))) for e in (0.0, 0.4)
    )
    inked = [np.asarray(Image.open(io.BytesIO(p)).convert("L")) < 250 for p in (narrow, wide)]
    assert inked[1].sum() > inked[0].sum() + 1000  # a band of 0.8 nats to both sides is some 20 pixels high, 370 wide
    unknown = trial_spectrum(trial_result(), replace(plain_spectrum(-1.0), standard_error=np.full((3, 4), np.nan)))
    assert unknown == narrow


def test_a_figure_has_no_state_outside_itself(whole):
    figures = [evidence.calibration(whole.predictions[whole.predictions["features"] == "all"]) for _ in range(2)]
    trial_spectrum(trial_result(), plain_spectrum(-1.0))
    assert png(figures[0]) == png(figures[1])


# Time


def test_time_is_summed_by_kind_of_stage_and_instances_of_other_studies_are_left_out(whole):
    rows = time_by_kind(TIMINGS, whole.settings).set_index("stage")
    assert list(rows.index) == ["prepare", "train", "report", "sum"]
    assert list(rows["instances"]) == [1, 2, 1, 4]
    assert list(rows["seconds"]) == [10, 80, 10, 100]
    assert list(rows["share"]) == pytest.approx([0.1, 0.8, 0.1, 1.0])
    assert list(rows["tracking"]) == [0, 6, 0, 6]
    assert "spent 6 s on tracking" in time_text(TIMINGS, whole.settings)


def test_time_between_stages_of_one_run_is_counted_and_that_between_two_runs_is_not(whole):
    began = {"prepare-mnist_rows": 100.0, "train-mnist_rows-elman": 113.0, "train-mnist_rows-gru": 90_000.0}
    timings = [{"stage": name, "began": begin, "seconds": 10.0} for name, begin in began.items()]
    rows = time_by_kind(timings, whole.settings).set_index("stage")
    assert rows.loc["between stages", "seconds"] == 3
    assert rows.loc["sum", "seconds"] == 33


def test_the_page_has_the_table_of_time(report):
    assert Reader(report[1]).row("train")[1:] == ["2", "80.0 s", "80.0 %", "7.5 %"]


def test_the_report_counts_its_own_time_and_not_that_of_its_last_run(tmp_path):
    (tmp_path / "report.json").write_text('{"stage": "report", "seconds": 1e9}')
    (tmp_path / "features.json").write_text('{"stage": "features", "seconds": 2}')
    features_, own = timings_in(tmp_path, 0.0, 0.5)
    assert features_ == {"stage": "features", "seconds": 2}
    assert own["tracking_seconds"] == 0.5
    assert own["seconds"] > 1e9  # the time since 1970


def test_facts_name_versions_and_survive_a_folder_without_git(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = provenance.facts(whole.trials)
    assert found["commit"] == "none"
    assert found["device"] == "cpu"
    assert found["numpy"] == np.__version__
