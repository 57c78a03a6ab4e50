import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import study as made
from conftest import ROOT
from PIL import Image

from pipeline.core import config, layout
from pipeline.core.execution import Here
from pipeline.core.files import save_table
from pipeline.core.records import Estimate, Evidence, Gain, Judgement, StageRecord, TaskData
from pipeline.predictor import features
from pipeline.predictor.evidence import judgement
from pipeline.predictor.folds import FAMILIES, SPLITS
from pipeline.predictor.inputs import PAIRS, SETS
from pipeline.report import bands, dynamics, evidence, findings, page, results, tables, times
from pipeline.report.figures import cell_marks, png
from pipeline.report.phase import components, phase_portrait
from pipeline.report.study import Study
from pipeline.report.templates import environment

MINUS = "\N{MINUS SIGN}"
VOID = {"meta", "img", "br", "link", "hr", "input"}
SECTIONS = ("study", "seed", "device", "tasks", "cells", "prepare", "train", "spectrum", "fixed_points", "success", "predictor")


def answers(final, splits, noise):
    """Answers from every set of inputs for trials that were held out: the truth plus noise, its size by set."""
    random = np.random.default_rng(0)
    parts = []
    for split in splits:
        for name in SETS:
            expected = np.clip(final["score"] + random.normal(0, noise.get(name, 0.2), len(final)), 0, 1)
            group = {SPLITS[1]: final["cell"], SPLITS[2]: final["task"]}.get(split, "fold 1")
            known = {"split": split, "inputs": name, "group": group, "score_model": "Ridge", "success_model": "Ridge"}
            drops = {f"drop {family}": 0.1 for family in FAMILIES}
            parts.append(final.assign(expected_score=expected, probability_of_success=expected, **known, **drops))
    return pd.concat(parts, ignore_index=True)


def record(stage, words, seconds, began=0.0, tracking=0.0):
    return StageRecord(stage, words, began, seconds, tracking, {}, {})


def settings_of(study, tasks, cells, *sections):
    """The real params.yaml with these tasks and cells, in the working directory."""
    text = (ROOT / "params.yaml").read_text()
    changes = {"study": study, "tasks": f"[{', '.join(tasks)}]", "cells": f"[{', '.join(cells)}]", "  bootstrap": 100}
    for key, value in changes.items():
        text = re.sub(rf"(?m)^{key}:.*$", f"{key}: {value}", text)
    layout.Path("params.yaml").write_text(text)
    return config.load(*sections)


def written(folder, trials, spectra, measurements, splits, noise=None):
    """Save a study, report on it, and return it as it was loaded, its page, and the PNG of each of its figures."""
    tasks, cells = (list(dict.fromkeys(getattr(r.trial, name) for r in trials)) for name in ("task", "cell"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = settings_of("default", tasks, cells)
        for task in tasks:
            about = {"description": "Count <b>&amp;</b> recall.", "source": "made-for-tests", "hash": "abcdef012345" * 2}
            info = made.info(task, title=f"Made {task}", sequences={"train": 101, "validation": 55, "test": 44}, **about)
            TaskData({"train_inputs": np.zeros(1)}, info).save(layout.data(task))
            for cell in cells:
                made.fixed_points(task=task, cell=cell).save(layout.fixed_points(task) / f"{cell}.safetensors")
        for result, measured in zip(trials, spectra, strict=True):
            result.save(result.trial.path(layout.trials(result.trial.task)))
            measured.save(result.trial.path(layout.spectra(result.trial.task)))
        table = features.table(trials, spectra, measurements, settings.success.threshold)
        final = table[table["checkpoint"] == "final"][["trial", "task", "cell", "score", "success"]].reset_index(drop=True)
        predictions = answers(final, splits, noise or {})
        save_table(layout.FEATURES, table)
        save_table(layout.PREDICTIONS, predictions)
        with np.errstate(invalid="ignore"):  # scores that are all alike have no R2
            judgement(predictions, settings.predictor, settings.seed, Here()).save(layout.EVIDENCE)
        record("train", tasks[:1], 50.0, tracking=5.0).save(layout.record("train", tasks[0]))
        study = Study.load(config.load(*SECTIONS))
        page.write(study)
        return study, layout.PAGE.read_text(), {path.stem: path.read_bytes() for path in layout.FIGURES.iterdir()}


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def report(whole_folder):
    """Two tasks and two cells, with a diverged trial, lost exponents, a loss of 1e6 and an infinite one."""
    trials, spectra, measured = made.study(trials=6, tasks=("mnist_rows", "fulda_runoff"), cells=("elman", "gru"))
    trials[0] = replace(made.result([2.0, np.nan, np.nan, np.nan], diverged=True), trial=trials[0].trial)
    trials[1] = replace(made.result([2.0, 1e6, np.inf, 2e6]), trial=trials[1].trial)
    lost = np.tile([0.1, -1.0, -20.0, -np.inf], (3, 2, 1))
    spectra[0] = replace(made.spectra(np.where([[[True]], [[False]], [[False]]], lost, np.nan)), trial=trials[0].trial)
    spectra[1] = replace(made.spectra(lost), trial=trials[1].trial)
    return written(whole_folder, trials, spectra, measured, SPLITS, {"all": 0.02, "all but spectra": 0.1})


@pytest.fixture(scope="module")
def lonely_report(tmp_path_factory):
    """One task and one cell, all trials diverged: two splits are missing and no measure is defined."""
    trials, spectra, measured = made.study(trials=4, tasks=("mnist_rows",), cells=("elman",))
    trials = [replace(made.result([2.0, np.nan, np.nan, np.nan], diverged=True), trial=r.trial) for r in trials]
    spectra = [replace(made.spectra(np.full((3, 2, 4), np.nan)), trial=s.trial) for s in spectra]
    return written(tmp_path_factory.mktemp("lonely"), trials, spectra, measured, SPLITS[:1])


@pytest.fixture(scope="module")
def whole(report):
    return report[0]


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
def test_the_page_is_well_formed_and_needs_no_other_file(name, request):
    text = request.getfixturevalue(name)[1]
    reader = Reader(text)
    assert reader.open == []
    ids = [value for _, attribute, value in reader.attributes if attribute == "id"]
    assert len(ids) == len(set(ids)) > 5
    sources = [value for _, attribute, value in reader.attributes if attribute in ("src", "href", "srcset", "data", "action")]
    assert sources
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert not any(word in text for word in ("url(", "@import", "<script"))


def test_every_figure_is_on_disk_and_in_the_page_with_an_alternative_text_and_a_caption(report):
    _, text, files = report
    figure = r'<figure id="([\w-]+)">\s*<img src="data:image/png;base64,([^"]+)" alt="[^"]{20,}">\s*<figcaption>\s*[A-Z]'
    assert {name: base64.b64decode(data) for name, data in re.findall(figure, text)} == files
    assert {f"fixed_points-{task}-{cell}" for task in ("mnist_rows", "fulda_runoff") for cell in ("elman", "gru")} < set(files)
    assert len(files) == 10 + 4
    assert min(colours(data) for data in files.values()) > 20


def test_a_missing_split_leaves_its_part_out(report, lonely_report):
    assert "Unseen cells and tasks" in Reader(report[1]).text
    reader = Reader(lonely_report[1])
    assert "Unseen cells and tasks" not in reader.text
    assert "One task left out" not in reader.text
    assert "These trials do not show" in reader.text
    assert reader.row("Made mnist_rows", "elman", "4")[2:5] == ["4", "4", "0"]


def test_the_page_holds_the_numbers_of_its_data(report):
    study, text, _ = report
    reader = Reader(text)
    good, count = int(study.final["success"].sum()), len(study.final)
    assert f"{count} trials, 1 of which diverged" in reader.text
    assert f"{good} ({100 * good / count:.0f} %) successes" in reader.text
    own = [r for r in study.trials if (r.trial.task, r.trial.cell) == ("fulda_runoff", "gru")]
    best = min(r.curves["validation_loss"][-1] for r in own)
    assert reader.row("Made fulda_runoff", "gru", "6", "0")[5:7] == [f"{best:.3f}", f"{best / 2:.3f}"]
    assert reader.row("Made fulda_runoff", "10", "2")[3:] == ["1", "101", "55", "44", "2.000"]
    assert reader.row("predictor.bootstrap") == ["predictor.bootstrap", "100"]
    assert reader.row("train.init_scale.low")[1] == "0.01"
    for value in ("made-for-tests", "abcdef012345", np.__version__, "Count <b>&amp;</b> recall."):
        assert value in reader.text
    assert "Count <b>" not in text  # texts of the data are no HTML


def test_the_page_prints_the_settings_that_it_was_given_and_no_others(report):
    keys = {row[0].split(".")[0] for row in Reader(report[1]).rows if len(row) == 2}
    assert set(SECTIONS) <= keys
    assert "processes" not in keys


def test_the_evidence_is_printed_for_every_set_and_split_with_its_interval(report):
    rows = Reader(report[1]).rows
    assert len(report[0].judgement.evidence) == len(SETS) * len(SPLITS)
    for one in report[0].judgement.evidence:
        r2 = one.measures["r2"]
        value, low, high = (re.sub(r"^-", MINUS, re.sub(r"^-(?=0.00$)", "", f"{v:.2f}")) for v in (r2.value, r2.low, r2.high))
        names = (one.inputs, f"{one.inputs} spectra")
        assert any(r[0] in names and r[1] == f"{value}{low} to {high}" for r in rows), one


def test_figures_of_an_earlier_report_are_removed_and_no_weights_are_read(report, tmp_path, monkeypatch):
    """Weights are read from the files of the trials when they are asked for, and here is none of these."""
    study, _, files = report
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="cannot read"):
        study.trials[0].weights["final"]
    layout.FIGURES.mkdir(parents=True)
    (layout.FIGURES / "old.png").touch()
    page.write(study)
    assert {path.stem for path in layout.FIGURES.iterdir()} == set(files)


def test_many_fixed_points_are_a_table(whole, report):
    assert len([name for name in report[2] if name.startswith("fixed_points-")]) == 4
    many = [made.fixed_points(task="mnist_rows", cell=f"cell{i}") for i in range(page.PORTRAITS + 1)]
    reader = Reader(page.html(replace(whole, fixed_points=many), {}))
    assert reader.row("Made mnist_rows", "cell12") == ["Made mnist_rows", "cell12", "2", "1", "2.5 steps"]


def test_facts_name_versions_and_survive_a_folder_without_git(whole, monkeypatch):
    monkeypatch.setattr(page, "git_state", lambda: ("", False))
    facts = page.facts(whole)
    assert (facts["commit"], facts["device"], facts["numpy"]) == ("none", "cpu", np.__version__)
    monkeypatch.setattr(page, "git_state", lambda: ("0123456789abcdef", True))
    assert page.facts(whole)["commit"] == "0123456789ab with changes"


# What it says


def said(macro, *values):
    """What a macro of findings.j2 says, in one line."""
    return " ".join(getattr(environment(html=False).get_template("findings.j2").module, macro)(*values).split())


def gain(low, high, split=SPLITS[0], pair=PAIRS[-1]):
    return Gain(split, *pair, Estimate(None if low is None else (low + high) / 2, low, high))


def judged(*gains, **r2):
    """A judgement with these gains, and the R2 of sets of inputs over trials."""
    rows = [Evidence(SPLITS[0], name, 9, {"r2": Estimate(v), "auc": Estimate(v)}, {}, []) for name, v in r2.items()]
    return Judgement(gain(0.1, 0.2), list(gains), [], rows)


def test_the_headline_turns_with_the_interval():
    ends = ((0.01, 0.1), (-0.1, 0.1), (-0.1, -0.01), (None, None))
    lines = [said("headline", findings.headline(judged(gain(*e)))) for e in ends]
    for sentence, word in zip(lines, ("improve the", "nothing measurable", "worse", "do not show"), strict=True):
        assert word in sentence


def test_the_page_prints_the_headline_of_its_own_gains(report, whole):
    assert said("headline", findings.headline(whole.judgement)) in Reader(report[1]).text
    others = [g for g in whole.judgement.gains if (g.split, g.with_) != (SPLITS[0], "all")]
    champion = gain(-0.3, -0.2, pair=("early loss", "all"))
    turned = replace(whole.judgement, champion=champion, gains=[*others, gain(-0.3, -0.2)])
    text = Reader(page.html(replace(whole, judgement=turned), {})).text
    assert said("headline", "below") in text
    assert f"{MINUS}0.25" in text


def test_a_gain_is_described_as_its_interval_allows():
    found = judged(gain(0.1, 0.3), gain(-0.1, 0.5, SPLITS[1]), gain(-0.3, -0.1, SPLITS[2]), gain(None, None))
    ((name, cases),) = findings.by_set(findings.additions(found)).items()
    assert said("gains", name, cases) == (
        f"Added to everything else known early, spectra raise R2 by 0.20 (+0.10 to +0.30) over trials; they lower R2 by 0.20 "
        f"({MINUS}0.30 to {MINUS}0.10) on an unseen task; they do not change R2 measurably: +0.20 ({MINUS}0.10 to +0.50) on an "
        "unseen cell."
    )


def test_the_parts_left_out_are_counted_one_by_one_and_of_many_the_ends_are_listed():
    few, many = {"elman": 0.2, "gru": -0.1, "lstm": 0.3}, {f"cell{i}": (i - 10) / 100 for i in range(20)}
    few, many = (said("consistency", findings.Addition(gain(0.1, 0.3, SPLITS[1], PAIRS[1]), g)) for g in (few, many))
    begin = "On an unseen cell, spectra added to the early loss alone raise R2 for"
    assert few == f"{begin} 2 of 3 cells (elman +0.20, gru {MINUS}0.10, lstm +0.30)."
    assert many.startswith(f"{begin} 9 of 20 cells (cell0 {MINUS}0.10, cell1 {MINUS}0.09, cell2 {MINUS}0.08, ..., cell17 +0.07,")


def test_gains_within_the_parts_are_differences_of_the_evidence(whole):
    (found,) = [a for a in findings.additions(whole.judgement) if (a.gain.split, a.gain.with_) == (SPLITS[2], "all")]
    less, more = (whole.judgement.of(SPLITS[2], name) for name in PAIRS[-1])
    assert found.gain.r2.value == pytest.approx(more.measures["r2"].value - less.measures["r2"].value, abs=1e-12)
    assert found.groups == {t: more.by_group[t]["r2"] - less.by_group[t]["r2"] for t in ("fulda_runoff", "mnist_rows")}


def test_the_ranking_of_successes_is_reported_when_it_speaks_against_spectra():
    sentence = said("ranking", findings.ranking(judged(**dict(zip(PAIRS[1], (0.9, 0.7), strict=True)))))
    assert "ahead in 0 of 1 comparisons" in sentence
    assert f"{MINUS}0.20, when spectra are added to the early loss alone, over trials." in sentence
    undefined = findings.ranking(judged(**dict.fromkeys(PAIRS[1])))
    assert undefined is None
    assert said("ranking", undefined) == ""


def test_the_strongest_set_of_inputs_is_that_of_the_largest_defined_r2():
    rows = findings.strongest(judged(**{"early loss": 0.25, "all": 0.5, "chance": None}))
    assert said("strongest", rows) == "The best sets of inputs are “all” over trials (R2 0.50)."
    assert said("strongest", findings.strongest(judged(all=None))) == ""


def test_compressed_spectra_are_compared_with_their_summaries():
    r2 = dict(zip(findings.CODES, (0.5, 0.25, -0.125), strict=True))
    sentence = said("codes", findings.codes(judged(**r2)))
    assert "over trials 0.50 from summaries, 0.25 from principal" in sentence
    assert f"{MINUS}0.12 from a learned code" in sentence
    assert said("codes", findings.codes(judged(**r2 | {findings.CODES[1]: None}))) == ""


def extremes(successes):
    """What is said of cells a, b, c on tasks x, y, z with three trials each, or of the first tasks."""
    names = [(task, cell) for task in "xyz" for cell in "abc"][: len(successes)]
    rows = [(*name, 3, count) for name, count in zip(names, successes, strict=True)]
    table = pd.DataFrame(rows, columns=["task", "cell", "trials", "successes"])
    return said("extremes", findings.extremes(table, {task: f"Task {task}" for task in "xyz"}))


def test_pairs_of_cell_and_task_without_any_success_are_named():
    sentences = "No trial succeeded with a on Task x; with a or b on Task z. Every trial succeeded with b on Task x."
    assert extremes([0, 3, 1, 1, 1, 1, 0, 0, 1]) == sentences
    assert extremes([1] * 9) == ""
    assert extremes([0, 1, 1]) == "No trial succeeded with a on Task x."  # one task alone is no rule


def test_cells_and_tasks_that_never_succeeded_are_named_once_and_not_pair_by_pair():
    assert extremes([0, 1, 1, 0, 1, 0, 0, 0, 0]) == (
        "No trial with a succeeded, whatever the task. No trial on Task z succeeded, whatever the cell. "
        "No trial succeeded with c on Task y."
    )


# Figures


def test_outliers_do_not_set_the_limits(whole):
    figure = dynamics.training_curves(whole.trials, whole.table, whole.titles, whole.settings.cells, 0.8)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low < 1 < high <= dynamics.WORST
    success = dict.fromkeys(whole.final["trial"], True)
    figure = dynamics.spectra(whole.spectra, success, "early", whole.titles, whole.settings.cells)
    assert all(axes.get_ylim()[0] >= -20 and axes.get_ylim()[1] < 1 for axes in figure.axes)


def test_a_trial_without_a_spectrum_is_counted_and_the_others_are_drawn(whole):
    success = dict(zip(whole.final["trial"], whole.final["success"], strict=True))
    figure = dynamics.spectra(whole.spectra, success, "final", whole.titles, whole.settings.cells)
    notes = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum("1 not finite" in text for text in notes) == 1
    drawn = sum(np.isfinite(p.vertices).all() for axes in figure.axes for c in axes.collections for p in c.get_paths())
    assert drawn == len(whole.spectra) - 1


def test_dots_stand_at_the_values_of_the_evidence(whole):
    rows = whole.judgement.evidence
    for axes, split in zip(evidence.strength(rows).axes, SPLITS, strict=True):
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "os" and len(line.get_xdata()) == 1]
        assert sorted(dots) == pytest.approx(sorted(e.measures["r2"].value for e in rows if e.split == split))


def test_every_trial_is_in_one_bin_of_the_reliability_diagram():
    random = np.random.default_rng(0)
    probability = np.concatenate([random.uniform(0, 1, 300), [0.0, 1.0]])
    success = random.uniform(size=302) < probability
    bins = evidence.reliability(pd.DataFrame({"probability_of_success": probability, "success": success}))
    assert len(bins) == evidence.BINS
    assert bins["count"].sum() == 302
    assert (bins["count"] * bins["predicted"]).sum() == pytest.approx(probability.sum())
    assert (bins["count"] * bins["share"]).sum() == pytest.approx(success.sum())
    assert findings.calibrated(bins) == ((bins["low"] <= bins["predicted"]) & (bins["predicted"] <= bins["high"])).sum()


def test_a_share_has_wilsons_interval():
    """Its ends lie where the share is 1.96 of their own standard errors away."""
    bins = evidence.reliability(pd.DataFrame({"probability_of_success": np.full(10, 0.25), "success": np.arange(10) < 3}))
    assert bins[["predicted", "share", "count"]].to_numpy().tolist() == [[0.25, 0.3, 10]]
    for end in bins[["low", "high"]].to_numpy()[0]:
        assert (0.3 - end) ** 2 == pytest.approx(1.959963984540054**2 * end * (1 - end) / 10, abs=1e-12)


def test_of_many_cells_each_has_one_panel_of_spectra_and_each_task_one_of_training():
    tasks, cells = {f"task{i}": f"Title {i}" for i in range(3)}, [f"cell{i:02d}" for i in range(20)]
    trials, spectra, measured = made.study(trials=2, tasks=tuple(tasks), cells=cells)
    table = features.table(trials, spectra, measured, 0.8)
    by_cell = dynamics.spectra(spectra, dict.fromkeys(table["trial"], True), "early", tasks, cells)
    by_task = dynamics.training_curves(trials, table, tasks, cells, 0.8)
    for figure, names, count in ((by_cell, cells, 2 * 3), (by_task, list(tasks.values()), 2 * 20)):
        assert [axes.get_title("left") for axes in figure.axes] == names
        assert [sum(len(c.get_paths()) for c in axes.collections) for axes in figure.axes] == [count] * len(names)


def test_every_cell_of_many_has_a_look_of_its_own():
    looks = cell_marks([f"cell{i:02d}" for i in range(35)])
    assert len({tuple(look.items()) for look in looks.values()}) == 35


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_every_task_has_its_panels_whatever_their_number(count):
    tasks = {f"task{i:02d}": f"Title {i}" for i in range(count)}
    table = features.table(*made.study(trials=2, tasks=tuple(tasks), cells=("elman",)), 0.8)
    figure = dynamics.largest_exponent(table, tasks, ["elman"])
    assert len(figure.axes) == 2 * count
    assert sorted(axes.get_title("left") for axes in figure.axes if axes.get_title("left")) == sorted(tasks.values())
    dots = sum(len(c.get_offsets()) for axes in figure.axes for c in axes.collections if c.__class__.__name__ == "PathCollection")
    assert dots == 2 * count


def test_bands_are_the_quartiles_of_each_exponent_and_cells_stand_in_the_order_of_their_largest():
    """Three trials whose exponents are all 0, 1 or 2 times one number: quartiles are 0.5, 1 and 1.5 times that."""
    names = [(cell, unit, index) for cell, unit in (("elman", -0.4), ("gru", -0.1), ("lstm", -0.2)) for index in range(3)]
    trials = [made.result(cell=cell, index=index) for cell, _, index in names]
    spectra = [made.spectra(np.full((3, 2, 4), index * unit), cell=cell, index=index) for cell, unit, index in names]
    spectra[0] = made.spectra(np.full((3, 2, 4), np.nan), cell="elman", index=0)
    measured = [made.measurements(cell=cell, index=index) for cell, _, index in names]
    figure = bands.spectra_by_cell(features.table(trials, spectra, measured, 0.8), ["elman", "gru", "lstm"])
    assert [axes.get_title("left") for axes in figure.axes] == ["gru", "lstm", "elman"]
    for axes, unit in zip(figure.axes[:2], (-0.1, -0.2), strict=True):
        assert [c.get_paths()[0].vertices[:, 1].min() for c in axes.collections] == pytest.approx([1.5 * unit] * 2)
        assert [c.get_paths()[0].vertices[:, 1].max() for c in axes.collections] == pytest.approx([0.5 * unit] * 2)
        assert axes.lines[-1].get_ydata() == pytest.approx(unit)
    assert [text.get_text() for text in figure.axes[2].texts] == ["2 not finite"]
    assert f"{MINUS}0.60 (elman) to {MINUS}0.10 (gru)" in figure.get_suptitle()


def test_components_are_the_eigenvectors_of_the_covariance():
    states = np.random.default_rng(1).normal(size=(7, 30, 4)) * [1.0, 5.0, 0.1, 2.0]
    states[0, 0] = np.nan  # a state that is not finite is left out
    flat = states.reshape(-1, 4)[1:]
    mean, directions, shares = components(states)
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    np.testing.assert_allclose(mean, flat.mean(0), atol=1e-14)
    np.testing.assert_allclose(np.abs(np.diag(directions.T @ vectors[:, [3, 2]])), 1, atol=1e-12)
    np.testing.assert_allclose(shares, values[[3, 2]] / values.sum(), atol=1e-12)


def test_one_number_has_one_component():
    _, directions, shares = components(np.arange(6.0).reshape(3, 2, 1))
    assert np.abs(directions).tolist() == [[1.0, 0.0]]
    assert shares.tolist() == [1.0, 0.0]
    assert components(np.ones((3, 2, 1)))[2].tolist() == [0.0, 0.0]


def test_a_portrait_marks_every_point_and_says_how_slow_it_is():
    figure = phase_portrait(made.fixed_points())
    assert [sum(len(c.get_offsets()) for c in axes.collections[1:]) for axes in figure.axes] == [2, 1]
    notes = [axes.texts[0].get_text() for axes in figure.axes]
    assert notes[0] == "2 fixed points, 1 stable\nslowest time constant: 2.5 steps"
    assert notes[1].endswith("infinite")


def test_a_figure_has_no_state_outside_itself(whole):
    answers_ = whole.predictions[whole.predictions["inputs"] == "all"]
    first, second = (evidence.calibration(answers_) for _ in range(2))
    phase_portrait(made.fixed_points())
    assert png(first) == png(second)


# The page in docs, and the time


@pytest.mark.parametrize(("study", "prefix"), [("default", ""), ("wide", "wide_")])
def test_each_study_has_a_page_and_figures_of_its_own_in_docs(study, prefix, whole, whole_folder, tmp_path, monkeypatch):
    for path in whole_folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    layout.Path("params.yaml").unlink()
    settings_of(study, whole.settings.tasks, whole.settings.cells)
    layout.REPORT.unlink()
    layout.FIGURES.mkdir(parents=True)
    (layout.FIGURES / "spectra.png").write_bytes(b"picture")
    results.main()
    name = "results.md" if study == "default" else f"{study}.md"
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {name, f"{prefix}spectra.png"}
    assert (tmp_path / f"docs/{prefix}spectra.png").read_bytes() == b"picture"
    text = (tmp_path / "docs" / name).read_text()
    assert text.startswith(f"# Results of the {study} study\n")
    assert f"]({prefix}spectra.png)" in text
    for table in (tables.trials(whole), *tables.evidence(whole.judgement)):
        assert f"\n\n{table.markdown()}\n" in text
    assert "| train | 1 | 50.0 s | 100.0 % | 5.0 s |" in text
    assert "\n\n\n" not in text


def test_time_is_summed_by_stage_with_the_gaps_of_one_run_and_without_other_tasks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, second = "mnist_rows", "fulda_runoff"
    settings_of("default", [first, second], ["elman"])
    for one in (
        record("train", [second], 20.0, 90_000.0),  # of another run, so there is no gap before it
        record("prepare", [first], 17.0),
        record("train", [first], 60.0, 20.0, tracking=6.0),
        record("train", ["another"], 999.0),
    ):
        one.save(layout.record(one.stage, *one.words))
    times.main()
    assert [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["prepare", "1", "17.0 s", "17.0 %", "0.0 s"],
        ["train", "2", "80.0 s", "80.0 %", "6.0 s"],
        ["between stages", "3.0 s", "3.0 %", "0.0 s"],
        ["sum", "3", "1.7 min", "100.0 %", "6.0 s"],
    ]
