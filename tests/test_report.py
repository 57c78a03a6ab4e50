import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest
import study as made
from conftest import ROOT
from PIL import Image

import stages.report
from pipeline import tracking
from pipeline.core import config, layout
from pipeline.core.cards import Card, Decision, Estimate, Evidence, Front, Gain, Judgement
from pipeline.core.errors import TrackingError
from pipeline.core.execution import Here
from pipeline.core.files import save_table
from pipeline.core.records import StageRecord, TaskData
from pipeline.core.tables import Cell
from pipeline.predictor import decision, feature_table, packaged, trials
from pipeline.predictor.decision import REPLAYED
from pipeline.predictor.evidence import PAIRS, RIVALS, judgement, verdict
from pipeline.predictor.features import WHOLE
from pipeline.predictor.inputs import BEFORE, EIGHTH, EPOCH, MOMENTS
from pipeline.predictor.measures import MEASURES
from pipeline.predictor.splits import CELLS, SCALE, TASKS, TRIALS
from pipeline.predictor.study import JUDGED
from pipeline.predictor.trials import trial_inputs
from pipeline.report import bands, card, dynamics, evidence, findings, page, pictures, results, searches, tables, templates, times
from pipeline.report.figures import cell_marks, drawn, folded, png
from pipeline.report.phase import components, phase_portrait
from pipeline.report.study import Study
from pipeline.report.templates import environment
from pipeline.tracking import addresses, store

MINUS = "\N{MINUS SIGN}"
VOID = {"meta", "img", "br", "link", "hr", "input"}
SECTIONS = ("study", "seed", "device", "tasks", "cells", "prepare", "train", "spectrum", "fixed_points", "success", "predictor")


SPLITS = (TRIALS, CELLS, TASKS)  # of a study


def answers(rows, splits, noise):
    """Answers from every set of inputs for trials that were held out: the truth plus noise, its size by set."""
    random = np.random.default_rng(0)
    parts = []
    for split in splits:
        group = {CELLS: rows["cell"], TASKS: rows["task"]}.get(split, "fold 1")
        for moment in MOMENTS:
            for name in JUDGED[moment]:
                expected = np.clip(rows["score"] + random.normal(0, noise.get(name, 0.2), len(rows)), 0, 1)
                known = {"split": split, "moment": moment, "inputs": name, "group": group, "variant": ""}
                about = {"expected_score": expected, "probability_of_success": expected}
                parts.append(
                    rows[["trial", "task", "cell", "score", "success"]].assign(
                        **known, **about, score_kind="linear", success_kind="trees"
                    )
                )
    return pd.concat(parts, ignore_index=True)


def carded(judged, **changes):
    """The card of a predictor with this evidence."""
    known = {
        "studies": {"evidence": 1234, "shift_width": 77},
        "tasks": ["adding", "counting", "lorenz"],
        "cells": ["elman", "lstm"],
        "threshold": 0.8,
        "recipes": {},
        "own_weights": {"5": 4.0},
        "quantiles": {},
        "judgement": judged,
        "origin": {"date": "2026-07-08", "commit": "0123456789ab", "table": "f00d", "seed": 1, "samples": 100},
    }
    return Card(**known | changes)


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
        table = feature_table.table(trials, spectra, measurements, settings.success.threshold)
        rows = trial_inputs(table).copy()
        predictions = answers(rows, splits, noise or {})
        save_table(layout.FEATURES, table)
        save_table(layout.PREDICTIONS, predictions)
        for name in ("DRAWS", "PRUNER_DRAWS"):
            patch.setattr(decision, name, 3)
        judged = judgement(predictions, rows.assign(study="own"), count=100, seed=settings.seed, on=Here())
        judged.save(layout.EVIDENCE)
        carded(judged).save(layout.PREDICTOR / packaged.CARD)
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
    return written(whole_folder, trials, spectra, measured, SPLITS, {"all": 0.02, "loss, hyper-parameters": 0.1})


@pytest.fixture(scope="module")
def lonely_report(tmp_path_factory):
    """One task and one cell, all trials diverged: two splits are missing and no measure is defined."""
    trials, spectra, measured = made.study(trials=4, tasks=("mnist_rows",), cells=("elman",))
    trials = [replace(made.result([2.0, np.nan, np.nan, np.nan], diverged=True), trial=r.trial) for r in trials]
    spectra = [replace(made.spectra(np.full((3, 2, 4), np.nan)), trial=s.trial) for s in spectra]
    return written(tmp_path_factory.mktemp("lonely"), trials, spectra, measured, [TRIALS])


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
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in sources)
    assert {value[1:] for value in sources if value.startswith("#")} <= {*ids}
    assert not any(word in text for word in ("url(", "@import", "fetch(", "XMLHttpRequest"))
    assert len(text) < 3e6


def test_every_figure_is_on_disk_and_in_the_page_with_an_alternative_text_and_a_caption(report):
    _, text, files = report
    figure = (
        r'<figure id="([\w-]+)">\s*<p class="title">\w[^<]+</p>\s*<div class="across"><img class="drawn" '
        r'src="data:image/png;base64,([^"]+)" alt="[^"]{20,}"></div>\s*(<ul class="key drawn">.*?</ul>)?\s*<figcaption>\s*[A-Z]'
    )
    shown = {name: base64.b64decode(data) for name, data, _ in re.findall(figure, text, re.DOTALL)}
    assert {*files} - {*shown} == {"largest_exponent"}  # which the page draws itself
    for name, image in shown.items():
        whole, panels = (Image.open(io.BytesIO(data)) for data in (files[name], image))
        assert panels.width == whole.width
        assert 0.5 * whole.height < panels.height < whole.height  # without title and legend, which are text
    assert {f"fixed_points-{task}-{cell}" for task in ("mnist_rows", "fulda_runoff") for cell in ("elman", "gru")} < set(files)
    assert len(files) == 10 + 4  # one portrait per task and cell
    assert min(colours(data) for data in files.values()) > 20


def test_a_missing_split_leaves_its_part_out(report, lonely_report):
    assert "Unseen cells and tasks" in Reader(report[1]).text
    reader = Reader(lonely_report[1])
    assert "Unseen cells and tasks" not in reader.text
    assert "One task left out" not in reader.text
    assert "These trials do not show whether screening" in reader.text
    assert reader.row("one epoch", "over trials")[3:5] == ["none", "none"]  # there is no AUC without a success
    assert "regret" not in lonely_report[2]
    assert reader.row("Made mnist_rows", "elman", "4")[2:5] == ["4", "4", "0"]


def test_the_page_holds_the_numbers_of_its_data(report):
    study, text, _ = report
    reader = Reader(text)
    good, count = int(study.final["success"].sum()), len(study.final)
    assert f"{count} networks, each with its own random size" in reader.text
    assert f"1 diverged, and {good} ({100 * good / count:.0f} %) are successes" in reader.text
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


def printed(value, digits):
    """A number as the page prints it."""
    return re.sub(r"^-", MINUS, re.sub(r"^-(?=0\.0+$)", "", f"{value:.{digits}f}"))


def test_the_evidence_is_printed_for_every_set_moment_and_split_with_its_interval(report):
    rows = Reader(report[1]).rows
    assert len(report[0].judgement.evidence) == sum(map(len, JUDGED.values())) * len(SPLITS)
    for one in report[0].judgement.evidence:
        auc, r2 = one.measures["auc"], one.measures["r2"].value
        expected = f"{printed(auc.value, 3)}{printed(auc.low, 3)} to {printed(auc.high, 3)}"
        names = (one.inputs, f"{one.inputs} spectra")
        assert any(r[0] in names and r[1] == expected and r[-1] == printed(r2, 2) for r in rows), one


def test_the_page_says_that_the_predictor_also_learned_from_packaged_trials(report):
    reader = Reader(report[1])
    assert "learned from the trials of this study and from 1234 packaged trials of 3 tasks and 2 cells" in reader.text


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
    points = ["Made mnist_rows", "cell12", "zero", "2", "1", "2.5 steps", "100 %", "no gap seen"]
    assert reader.row("Made mnist_rows", "cell12", "zero") == points


def test_facts_name_versions_and_survive_a_folder_without_git(whole, monkeypatch):
    monkeypatch.setattr(page, "git_state", lambda: ("", False))
    facts = page.facts(whole)
    assert (facts["commit"], facts["device"], facts["numpy"]) == ("none", "cpu", np.__version__)
    monkeypatch.setattr(page, "git_state", lambda: ("0123456789abcdef", True))
    assert page.facts(whole)["commit"] == "0123456789ab with changes"


def test_the_link_of_a_trial_finds_its_run_alone(whole, whole_folder, tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "trials").symlink_to(whole_folder / "trials")
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    tracking.sync()
    wanted, opened = whole.trials[3].trial, store.connect()
    address = urlsplit(addresses.of_trial(wanted.id))
    assert (address.netloc, address.path) == ("127.0.0.1:5000", "/")
    place, _, query = address.fragment.partition("?")
    experiment = place.removeprefix("/experiments/").removesuffix("/runs")
    (run,) = opened.client.search_runs([experiment], parse_qs(query)["searchFilter"][0])
    assert wanted.name in run.info.run_name
    server = replace(opened, address="https://user:secret@host:81/base/")
    monkeypatch.setattr(store, "connect", lambda: server)
    assert addresses.of_trial(wanted.id).startswith("https://host:81/base/#/experiments/")


def test_a_store_that_cannot_be_used_costs_the_page_its_links_alone(monkeypatch, capsys):
    def broken(_):
        raise TrackingError("the MLflow store is locked")

    monkeypatch.setattr(addresses, "of_trial", broken)
    assert stages.report._link() == ""
    assert capsys.readouterr().err == "WARNING: the report links to no run: the MLflow store is locked.\n"


# What it says


def said(macro, *values):
    """What a macro of findings.j2 says, in one line."""
    return " ".join(getattr(environment(html=False).get_template("findings.j2").module, macro)(*values).split())


SPECTRAL_PAIR = ("loss, measurements", "loss, measurements, spectrum")


def between(low, high):
    return Estimate(None if low is None else (low + high) / 2, low, high)


def gain(low, high, split=TRIALS, pair=SPECTRAL_PAIR, moment=EPOCH):
    """What is added, with the same interval for all measures."""
    return Gain(split, moment, *pair, {measure: between(low, high) for measure in ("auc", "brier", "log_loss")})


def measured(value, inputs="all", split=TRIALS, moment=EPOCH, groups=()):
    """The evidence of a set with a value of all measures, and those of parts that were left out."""
    measures = {measure: Estimate(value) for measure in MEASURES}
    return Evidence(split, moment, inputs, 9, measures, {name: dict.fromkeys(MEASURES, v) for name, v in groups}, ["linear"])


def judged(*gains, rows=(), served=None, decisions=(), champion=None, volume=None):
    return Judgement([*rows], [*gains], served or {}, champion, volume, [*decisions], {}, {})


def front(strategy, points, gained=(0.01, 0.02), volume=0.9):
    """A front through points (cost, regret), whose intervals are 0.01 wide on both sides."""
    regrets = [Estimate(r, r - 0.01, r + 0.01) for _, r in points]
    at = {f"{cost:g}": regrets[0] for cost in decision.COSTS}
    return Front(strategy, [c for c, _ in points], regrets, at, Estimate(volume, 0.8, 0.95), between(*gained), 0.25)


def replayed(
    points=((1.5, 0.2), (2.0, 0.1), (8.0, 0.0)), *, gained=(0.01, 0.02), count=12, inputs="all", volume=0.9, title=(CELLS, "")
):
    """Searches in which i-Epoch leaves a regret of 0.1 at 4 full trainings, and one with screening goes through these points."""
    plain = [front("random", [(1, 0.5), (6, 0.1)]), front("i-Epoch", [(2, 0.3), (4.0, 0.1), (9, 0.02)], (0, 0))]
    own = [front(f"before training: {inputs}", points, gained), front(f"both: {inputs}, then loss", points, gained, volume)]
    return Decision(REPLAYED[title], count, 40, [*plain, *own])


def headline(*decisions, **changes):
    found = judged(decisions=decisions, **changes)
    sentence = templates.headline(found)
    assert sentence == said("headline", findings.savings(found), findings.spectral(found))
    return sentence


def test_the_headline_is_the_cost_at_equal_regret_where_the_interval_of_the_gain_lies_above_0():
    """2 full trainings for the regret of 0.1 that i-Epoch has at 4, the best for at most 5: half of it."""
    assert headline(replayed()) == (
        "Among new cells on known tasks, screening networks before training saves 50 % of the training in a search: as good a "
        "network for 2.0 instead of 4.0 full trainings, at a regret of 0.10 (0.09 to 0.11), over 12 tasks. Whether Lyapunov "
        "spectra add anything is not known."
    )
    assert "screening networks by their hyper-parameters before" in headline(replayed(inputs="hyper-parameters"))
    assert headline(replayed(title=(SCALE, "shift_width"))).startswith("Screening networks before training saves 50 %")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points": ((1.0, 0.1),)}, "On new tasks, screening saves 75 %. Whether"),
        ({"points": ((3.8, 0.1),)}, "On new tasks, screening saves a small part (5 %). Whether"),
        ({"points": ((1.0, 0.2),)}, "On new tasks, screening saves nothing at this cost. Whether"),
        ({"gained": (-0.01, 0.02)}, "On new tasks, screening saves nothing measurable. Whether"),
        ({"gained": (-0.02, -0.01)}, "On new tasks, screening makes searches worse. Whether"),
    ],
)
def test_the_headline_also_says_what_is_saved_on_new_tasks(changes, words):
    searched = [replayed(), replayed(**changes, title=(TASKS, "")), replayed(title=(SCALE, "shift_width"))]
    assert words in headline(*searched)
    assert headline(*searched).count("saves 50 %") == 1


def test_what_hyper_parameters_alone_save_on_new_tasks_is_in_the_headline():
    own = replayed(((1.0, 0.1),), title=(TASKS, ""))
    alone = replayed(((3.0, 0.1),), inputs="hyper-parameters", volume=0.8)
    together = replace(own, fronts=[*own.fronts, *alone.fronts[2:]])
    assert "On new tasks, screening saves 75 % (25 % by hyper-parameters alone)." in headline(replayed(), together)


def test_a_saving_below_a_tenth_is_called_small():
    """3.7 instead of 4 full trainings are 7.5 %, 3.5 are 12.5 %."""
    assert "saves a small part (7 %) of the training in a search: as good a network for 3.7" in headline(replayed(((3.7, 0.1),)))
    assert "saves 12 % of the training" in headline(replayed(((3.5, 0.1),)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gained": (-0.01, 0.02)}, "saves nothing measurable"),
        ({"gained": (-0.02, -0.01)}, "makes searches worse"),
        ({"points": ((2.0, 0.2), (6.0, 0.1))}, "saves nothing at the cost that is compared"),
        ({"points": ((2.0, 0.2), (6.0, 0.15))}, "saves nothing at the cost that is compared"),
        ({"count": 1}, "A single task does not show"),
    ],
)
def test_the_headline_claims_no_saving_that_the_searches_do_not_show(changes, words):
    sentence = headline(replayed(**changes))
    assert words in sentence
    assert "%" not in sentence


@pytest.mark.parametrize(
    ("brier", "volume", "effect", "words"),
    [
        ((0.01, 0.03), (0.01, 0.02), "clear", "clearly improve"),
        ((0.004, 0.006), (0.01, 0.02), "small", "improve the predictions, but the effect is small"),
        ((0.01, 0.03), (-0.01, 0.02), "none", "add nothing measurable"),
        ((-0.01, 0.03), (0.01, 0.02), "none", "add nothing measurable"),
        ((-0.03, -0.01), (-0.01, 0.02), "harm", "do not help: with them, predictions are worse."),
        ((-0.01, 0.02), (-0.02, -0.01), "harm", "do not help: with them, searches are slightly worse."),
        ((-0.009, -0.001), (-0.03, -0.02), "harm", "predictions are slightly worse and searches are worse."),
        ((None, None), (0.01, 0.02), "unknown", "is not known"),
    ],
)
def test_the_headline_says_what_spectra_add_by_the_rule_of_the_champion(brier, volume, effect, words):
    found = judged(champion=gain(*brier, CELLS), volume=between(*volume))
    assert findings.spectral(found).effect == effect
    assert words in templates.headline(found)
    assert (effect in ("clear", "small")) == found.is_champion


def test_without_replayed_searches_the_headline_says_so():
    assert "do not show" in headline()
    assert "do not show" in headline(Decision("title", 3, 40, [front("random", [(1, 0.5)])]))


def rows_of(table):
    """The texts and the details of a table's cells."""
    return [[(c.text, c.detail) if isinstance(c, Cell) else c for c in row] for row in table.rows]


def test_savings_have_intervals_and_are_no_share_of_the_cost_of_a_search_that_is_not_measurably_better():
    ours = judged(decisions=[replayed(), replayed(gained=(-0.01, 0.02)), replayed(points=((2.0, 0.2),))])
    better, around, never = rows_of(tables.savings(findings.savings(ours)))
    regret = "regret 0.10 (0.09 to 0.11)"
    gained = ("+0.015", "+0.010 to +0.020")
    assert better[1:] == [("4.0", regret), ("2.0", regret), ("50 %", "clear saving"), "never", gained]
    assert around[3] == ("nothing measurable", "")
    assert never[2:4] == [("never", ""), ("nothing at this cost", "")]
    assert said("few", findings.savings(ours)) == ""
    few = findings.savings(judged(decisions=[replayed(count=3)]))
    assert "resample 3 tasks: so few" in said("few", few)


def test_what_hyper_parameters_alone_save_stands_beside_it():
    own, alone = replayed(), replayed(points=((3.0, 0.1),), inputs="hyper-parameters", volume=0.8)
    together = replace(own, fronts=[*own.fronts, *alone.fronts[2:]])
    ((_, _, (cost, _), _, plain, _),) = rows_of(tables.savings(findings.savings(judged(decisions=[together]))))
    assert (cost, plain) == ("2.0", "3.0")
    assert "2.0 instead of 4.0 full trainings (3.0 with hyper-parameters alone), at a regret of 0.10" in headline(together)


def test_the_page_prints_the_headline_of_its_own_searches(report, whole):
    assert templates.headline(whole.judgement) in Reader(report[1]).text
    turned = replace(whole.judgement, decisions=[replayed(gained=(-0.3, -0.2))], champion=gain(-0.3, -0.2))
    text = Reader(page.html(replace(whole, judgement=turned), {})).text
    assert "makes searches worse" in text
    assert "with them, predictions are worse" in text
    assert "do not measurably earn their place" in text
    assert f"{MINUS}0.250 (95 % interval {MINUS}0.300 to {MINUS}0.200)" in text


def test_spectra_earn_their_place_only_with_both_intervals_above_0():
    for brier, volume, words in (
        ((0.01, 0.02), (0.01, 0.02), "spectra earn"),
        ((0.01, 0.02), (-0.01, 0.02), "spectra do not measurably earn"),
        ((-0.01, 0.02), (0.01, 0.02), "spectra do not measurably earn"),
    ):
        assert words in verdict(judged(champion=gain(*brier, CELLS), volume=between(*volume)))
    assert "do not show" in verdict(judged())


def differing(auc, brier):
    return replace(gain(0.1, 0.3), measures={"auc": between(*auc), "brier": between(*brier), "log_loss": between(*brier)})


@pytest.mark.parametrize(
    ("auc", "brier", "word"),
    [
        ((0.01, 0.03), (0.01, 0.03), "clear"),
        ((0.01, 0.03), (0.004, 0.006), "small"),
        ((-0.01, 0.03), (0.01, 0.03), "clear"),
        ((-0.03, 0.01), (0.01, 0.03), "none"),  # the AUC falls while the Brier score rises
        ((0.01, 0.03), (-0.01, 0.03), "none"),
        ((-0.03, -0.01), (-0.006, -0.004), "small harm"),
        ((-0.03, -0.01), (-0.03, -0.01), "harm"),
        ((None, None), (None, None), "unknown"),
    ],
)
def test_the_size_of_an_effect_follows_from_its_interval_and_agrees_in_both_measures(auc, brier, word):
    assert findings.effect(differing(auc, brier)) == word
    assert word in tables.EFFECT


def test_nothing_measured_is_no_effect():
    assert findings.effect(None) == "unknown"


def test_what_is_added_is_one_row_for_each_pair_and_one_column_for_each_split():
    found = [gain(0.1, 0.3), gain(-0.1, 0.5, CELLS), gain(-0.3, -0.1, TASKS), gain(None, None, SCALE)]
    before = gain(0.002, 0.004, pair=("hyper-parameters", "hyper-parameters, measurements"), moment=BEFORE)
    table = tables.effects(findings.additions(judged(*found, before)), ["spectrum", "measurements"])
    assert table.columns == ["asked", "added", "to", "over trials", "on a new cell", "on a new task", "at other settings"]
    assert rows_of(table) == [
        [BEFORE, "measurements", "hyper-parameters", ("small gain", "+0.003 (+0.002 to +0.004)"), "", "", ""],
        [
            *(EPOCH, "spectrum", "loss, measurements"),
            ("clear gain", "+0.200 (+0.100 to +0.300)"),
            ("no difference", f"+0.200 ({MINUS}0.100 to +0.500)"),
            ("clear loss", f"{MINUS}0.200 ({MINUS}0.300 to {MINUS}0.100)"),
            ("not known", ""),
        ],
    ]
    assert tables.effects(findings.additions(judged(gain(None, None))), ["spectrum"]) is None


def test_the_answer_is_a_table_of_moments_and_splits_with_the_simplest_inputs_beside_it(whole):
    gains = findings.against_rivals(whole.judgement, whole.predictions, 50, 1)
    table = tables.answer(whole.judgement, gains)
    assert table.columns == ["asked", "known task and cell", "new cell", "new task"]
    assert [row[0] for row in table.rows] == ["Before training", "After an eighth of an epoch", "After one epoch"]
    for moment, row in zip(MOMENTS, table.rows, strict=True):
        for split, cell in zip(SPLITS, row[1:], strict=True):
            served, rival = (
                whole.judgement.of(split, moment, name) for name in (whole.judgement.served[split][moment], RIVALS[moment])
            )
            assert cell.text == f"{served.measures['auc'].value:.2f}"
            if served.inputs == rival.inputs:
                assert cell.tag == "the same inputs"
            else:
                assert cell.detail.endswith(f", simplest inputs {rival.measures['auc'].value:.2f}")
                assert cell.tag == tables.EFFECT[findings.effect(gains[moment, split])]
                brier = rival.measures["brier"].value - served.measures["brier"].value
                assert gains[moment, split].measures["brier"].value == pytest.approx(brier, abs=1e-12)


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_a_pair_adds_is_the_family_of_the_columns_that_it_has_more(moment):
    known = {
        ("hyper-parameters", "hyper-parameters, proxies"): "zero-cost proxies",
        ("step ratio", "step ratio, spectrum"): "spectrum",
        ("loss", "loss, measurements"): "measurements",
        ("curve", "curve, gradients"): "gradient norms",
        ("loss", "curve"): "learning curve",
        ("loss, hyper-parameters, measurements", "all"): "spectrum",
        ("loss", "all"): "hyper-parameters, measurements and spectrum",
    }
    for pair in PAIRS[moment]:
        found = findings.added(moment, *pair)
        assert found == known.get(pair, found) != ""


def test_the_parts_left_out_are_counted_one_by_one_and_of_many_the_ends_are_listed():
    few, many = {"elman": 0.2, "gru": -0.1, "lstm": 0.3}, {f"cell{i}": (i - 10) / 100 for i in range(20)}
    few, many = (said("consistency", findings.Addition(gain(0.1, 0.3, CELLS), "spectrum", g)) for g in (few, many))
    begin = "After one epoch, on an unseen cell, the spectrum added to “loss, measurements” improves the Brier score of"
    assert few == f"{begin} 2 of 3 cells (elman +0.200, gru {MINUS}0.100, lstm +0.300)."
    assert many.startswith(
        f"{begin} 9 of 20 cells (cell0 {MINUS}0.100, cell1 {MINUS}0.090, cell2 {MINUS}0.080, ..., cell17 +0.07"
    )


def test_gains_within_the_parts_are_differences_of_the_evidence(whole):
    added = findings.additions(whole.judgement)
    (found,) = [a for a in added if (a.gain.split, a.gain.moment, a.gain.without) == (TASKS, EPOCH, SPECTRAL_PAIR[0])]
    less, more = (whole.judgement.of(TASKS, EPOCH, name) for name in SPECTRAL_PAIR)
    value = less.measures["brier"].value - more.measures["brier"].value
    assert found.gain.measures["brier"].value == pytest.approx(value, abs=1e-12)
    tasks = ("fulda_runoff", "mnist_rows")
    assert found.groups == {t: less.by_group[t]["brier"] - more.by_group[t]["brier"] for t in tasks}


def test_the_set_that_answers_stands_beside_its_rival(whole):
    rows = [row for row in tables.served(whole.judgement).rows if row[:2] == [EPOCH, TASKS]]
    served = whole.judgement.served[TASKS][EPOCH]
    own, rival = (whole.judgement.of(TASKS, EPOCH, name).measures for name in (served, RIVALS[EPOCH]))
    best = min(e.measures["brier"].value for e in whole.judgement.evidence if (e.split, e.moment) == (TASKS, EPOCH))
    assert own["brier"].value == best
    ((_, _, name, auc, rivals, *_, error, last),) = rows
    shown = (name, auc.text, rivals, error.text, last)
    numbers = (own["auc"], rival["auc"], own["calibration_error"], rival["calibration_error"])
    assert shown == (served, *(f"{estimate.value:.2f}" for estimate in numbers))


def early(**outcomes):
    """Trials with largest exponents in the middle of each band, and their outcomes as text: "+" is a success."""
    places = {"far": -2.0, "near": -0.1, "above": 0.3}
    rows = [(places[name], mark == "+") for name, marks in outcomes.items() for mark in marks]
    return pd.DataFrame([*rows, (np.nan, False)], columns=["exponent_1", "success"])


@pytest.mark.parametrize(
    ("outcomes", "peaks", "words"),
    [
        (
            {"far": "-" * 19 + "+", "near": "+" * 15 + "-" * 5, "above": "-" * 20},
            True,
            "Networks learn just below 0: of networks",
        ),
        ({"far": "+-" * 5, "near": "+-" * 5}, False, "Success does not peak just below 0: of networks"),
        ({"far": "+" * 20, "near": "-" * 20}, False, "Success does not peak just below 0"),
        ({"near": "+-"}, None, "Where success lies"),
        ({"far": "-" * 9, "near": "-" * 9}, None, "No network succeeded, whatever its largest exponent"),
        ({}, None, "No network succeeded"),
    ],
)
def test_the_best_picture_is_titled_by_what_the_intervals_allow(outcomes, peaks, words):
    found = findings.bands(early(**outcomes))
    assert {name: band.trials for name, band in found.items()} == {name: len(marks) for name, marks in outcomes.items()}
    assert findings.peaks(found) is peaks
    assert said("message", found, peaks, 1).startswith(words)


def test_the_title_of_the_best_picture_holds_its_shares():
    found = findings.bands(early(far="-" * 19 + "+", near="+" * 15 + "-" * 5, above="-" * 20))
    assert said("message", found, True, 2).endswith(
        f"is between {MINUS}0.5 and 0 after epoch 2, 75 % succeed; below {MINUS}0.5, 5 %; at 0 or above, 0 %"
    )


def test_a_search_that_missed_points_is_said_to_be_incomplete(whole, report):
    assert "No search is known to be incomplete" in Reader(report[1]).text
    (first, *rest) = whole.fixed_points
    counts = first.counts | {"mean": replace(first.counts["mean"], index=-1)}
    missed = replace(whole, fixed_points=[replace(first, counts=counts), *rest])
    reader = Reader(page.html(missed, {}))
    assert "1 of 8 searches is incomplete" in reader.text
    names = (whole.titles[first.trial.task], first.trial.cell)
    assert [reader.row(*names, name)[-1] for name in ("zero", "mean")] == ["no gap seen", "incomplete"]
    assert phase_portrait(missed.fixed_points[0]).axes[1].texts[0].get_text().endswith("search incomplete")
    unknown = replace(first, counts={name: replace(c, index=None) for name, c in first.counts.items()})
    assert tables.fixed_points(replace(whole, fixed_points=[unknown])).rows[0][-1].text == "not known"


def test_a_study_in_which_every_trial_diverged_says_so_and_claims_nothing(lonely_report):
    text = Reader(lonely_report[1]).text
    assert "No network succeeded, whatever its largest exponent" in text
    assert "4 diverged, and 0 (0 %) are successes" in text
    assert "do not show whether screening networks before training saves" in text
    assert "Whether Lyapunov spectra add anything is not known" in text
    assert "not known" in text


def test_every_trial_is_a_row_with_its_curve_its_numbers_and_a_link(whole, report):
    reader = Reader(report[1])
    names = [r.trial.name for r in whole.trials]
    assert [row[0] for row in reader.rows if row and row[0] in names] == [row.trial.name for row in pictures.rows(whole)]
    assert "make ui" not in reader.text.replace("make ui</code>", "")
    linked = Reader(page.html(whole, {}, "http://here/TRIAL?x"))
    links = {value for _, name, value in linked.attributes if name == "href" and value.startswith("http")}
    assert links == {f"http://here/{r.trial.id}?x" for r in whole.trials}
    for row in pictures.rows(whole):
        own = whole.final.set_index("trial").loc[row.trial.id]
        assert reader.row(row.trial.name)[3] == printed(own["score"], 2)
        assert row.values["early"] == pytest.approx(
            whole.table[(whole.table["trial"] == row.trial.id) & (whole.table["checkpoint"] == "early")]["exponent_1"].item(),
            nan_ok=True,
        )


def test_what_the_script_shows_is_the_words_of_each_trial(whole, report):
    (found,) = re.findall(r'<script type="application/json" id="words">(.*?)</script>', report[1])
    words, rows = json.loads(found), pictures.rows(whole)
    assert [lines[0] for lines in words] == [row.trial.name for row in rows]
    marks = re.findall(r'<path class="dot \w+" data-t="(\d+)"', report[1])
    assert sorted(map(int, marks)) == [row.place for row in rows if np.isfinite(row.values["early"])]
    lines = re.findall(r'<polyline class="line \w+" data-t="(\d+)"', report[1])
    assert sorted(map(int, lines)) == [row.place for row in rows]
    assert any("diverged" in lines[1] for lines in words)


def test_long_tables_are_folded_and_all_text_is_there_without_the_script(report):
    without = re.sub(r"<script.*?</script>", "", report[1], flags=re.DOTALL)
    reader = Reader(without)
    assert "All 24 trials" in reader.text
    assert without.count("<details") >= 10
    assert "hidden" not in {name for _, name, _ in reader.attributes}


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


def test_no_word_of_a_label_is_broken():
    assert folded("english_characters_of_prose, next character", 10).split("\n") == [
        "english_characters_of_prose,",
        "next",
        "character",
    ]


def test_title_and_legend_of_a_figure_are_text_beside_its_panels(whole):
    figure = evidence.strength(whole.judgement.evidence)
    found = drawn(figure)
    assert found.title == figure.get_suptitle()
    assert [key.get_label() for key in found.keys] == ["with spectra", "without spectra", "best without spectra"]
    swatches = [pictures.swatch(key) for key in found.keys]
    assert all(evidence.WITHOUT in swatch for swatch in swatches[1:])
    assert "stroke-dasharray" in swatches[2]
    page_, panels = (np.asarray(Image.open(io.BytesIO(data)).convert("L"), int) for data in (found.png, found.panels))
    differences = [np.abs(page_[i : i + len(panels)] - panels).mean() for i in range(len(page_) - len(panels) + 1)]
    assert 0 < np.argmin(differences) < len(differences) - 1
    assert min(differences) < 1  # of 255; the two have palettes of their own


@pytest.mark.parametrize("kind", ["linear", "log", "exponents"])
def test_an_axis_rises_from_its_low_end_to_its_high_end(kind):
    low, high = (0.01, 10.0) if kind == "log" else (-20.0, 1.0)
    axis = pictures.Axis(kind, low, high, {})
    places = axis.at(np.geomspace(low, high, 50) if kind == "log" else np.linspace(low, high, 50))
    assert (places[0], places[-1]) == pytest.approx((0, 1))
    assert (np.diff(places) > 0).all()
    assert axis.at([low - 1 if kind != "log" else 1e-5, 1e3]).tolist() == [0, 1]
    assert np.isnan(axis.at([np.nan])).all()


def test_an_axis_of_exponents_is_linear_near_0_and_logarithmic_beyond():
    axis = pictures.Axis("exponents", -10.0, 1.0, {})
    zero, small, smaller, one, ten = axis.at([0, -0.1, -0.05, -1, -10])
    assert zero - small == pytest.approx(2 * (zero - smaller))
    assert small - one == pytest.approx(one - ten)


def test_few_numbers_have_a_tick_each_and_many_have_powers_of_ten():
    assert pictures.number_axis([16, 32, 16]).ticks == {16.0: "16", 32.0: "32"}
    assert pictures.number_axis(np.geomspace(2e-4, 0.05, 30), log=True).ticks == {0.001: "0.001", 0.01: "0.01"}
    assert pictures.number_axis([np.nan]).at(0.5) == 0.5


def test_a_line_of_the_heat_map_is_the_spectrum_of_a_trial(whole):
    rows = [row for row in pictures.rows(whole) if row.trial.task == "mnist_rows"]
    table = whole.table[whole.table["checkpoint"] == "final"].set_index("trial")
    axis = pictures.whole_axis(whole.table)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures.heat(rows, table, axis)))))
    assert image.shape == (len(rows), 3 + len(WHOLE), 4)
    brightness = image[:, 3:, :3].astype(int).sum(axis=2)
    for place, row in enumerate(rows):
        values = table.loc[row.trial.id, list(WHOLE)].to_numpy(float)
        assert (image[place, 0] == (pictures._GOOD if row.success else pictures._BAD)).all()
        if np.isnan(values).all():
            assert (image[place, 3:] == pictures._BLANK).all()
        else:
            assert brightness[place, 0] == brightness[place].max()  # the largest exponent is the brightest


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
        assert sorted(dots) == pytest.approx(sorted(e.measures["auc"].value for e in rows if e.split == split))


def test_gains_stand_at_their_values_hollow_where_0_is_inside_and_beyond_the_axis_with_their_number():
    pair = ("loss", "all")
    added = findings.additions(
        judged(gain(0.01, 0.03), gain(-0.01, 0.02, CELLS), gain(0.5, 0.7, pair=pair), gain(-0.7, -0.5, CELLS, pair))
    )
    for axes, inside, filled, beyond in zip(
        evidence.additions(added).axes, (0.02, 0.005), (True, False), ("+0.60", f"{MINUS}0.60"), strict=True
    ):
        dots = [line for line in axes.lines if line.get_marker() in "os" and len(line.get_xdata()) == 1]
        assert [line.get_xdata()[0] for line in dots] == pytest.approx([inside] * 2)  # AUC and Brier score
        assert [line.get_markerfacecolor() != "white" for line in dots] == [filled] * 2
        assert [text.get_text() for text in axes.texts] == [beyond] * 2
        assert [line.get_marker() for line in axes.lines if line.get_marker() in "<>"] == [">" if filled else "<"] * 2


def test_a_line_of_the_searches_is_the_regret_for_at_most_each_cost_to_the_end_of_the_axis():
    titles = ((CELLS, ""), (TASKS, ""), (SCALE, "shift_width"))
    figure = searches.regret(judged(decisions=[replayed(title=title) for title in titles]))
    assert len(figure.axes) == 3
    for axes in figure.axes:
        (line,) = [one for one in axes.lines if one.get_color() == "#000000"]
        assert line.get_drawstyle() == "steps-post"
        assert line.get_xdata().tolist() == [2, 4, 9, searches.DEAREST]
        assert line.get_ydata().tolist() == [0.3, 0.1, 0.02, 0.02]
        assert len(axes.collections) == 4  # a band for each line
        assert axes.get_ylim()[1] < 0.5
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["random search", "i-Epoch", "before training: predictor", "both: predictor"]


@pytest.mark.parametrize(
    ("searched", "title"),
    [
        ([replayed()], "At equal regret, searches with the predictor cost 50 % less"),
        ([replayed(), replayed(((3.0, 0.1),))], "At equal regret, searches with the predictor cost 25 to 50 % less"),
        ([replayed(), replayed(gained=(-0.01, 0.02))], "Regret of searches against their cost"),
    ],
)
def test_the_figure_of_the_searches_is_titled_by_what_they_all_save(searched, title):
    assert searches.regret(judged(decisions=searched)).get_suptitle() == title


def test_hyper_parameters_alone_stand_beside_the_set_that_screens_and_are_the_predictor_where_they_serve():
    for screened, volume, count in (("all", 0.8, 6), ("hyper-parameters", 0.9, 4)):
        plain = replayed(inputs="hyper-parameters", volume=volume)
        found = findings.drawn(replace(replayed(), fronts=[*replayed().fronts, *plain.fronts[2:]]))
        assert found["both: predictor"].strategy == f"both: {screened}, then loss"
        assert len(found) == count
        assert set(found) <= set(searches.LOOKS)


def test_one_task_has_lines_without_bands():
    figure = searches.regret(judged(decisions=[replayed(count=1)]))
    assert not figure.axes[0].collections


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
    table = feature_table.table(trials, spectra, measured, 0.8)
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
    table = feature_table.table(*made.study(trials=2, tasks=tuple(tasks), cells=("elman",)), 0.8)
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
    figure = bands.spectra_by_cell(feature_table.table(trials, spectra, measured, 0.8), ["elman", "gru", "lstm"])
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
    own = (whole.predictions["inputs"] == "all") & (whole.predictions["moment"] == EPOCH)
    answers_ = whole.predictions[own]
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
    judged_ = whole.judgement
    every = [*tables.evidence(judged_), *tables.gains(judged_), *tables.decisions(judged_), tables.served(judged_)]
    for table in (tables.trials(whole), *every):
        assert f"\n\n{table.markdown()}\n" in text
    assert "| train | 1 | 50.0 s | 100.0 % | 5.0 s |" in text
    assert "\n\n\n" not in text


@pytest.fixture
def own_card(tmp_path, monkeypatch):
    """Writes the page of a card to docs and returns it; changes are of its judgement."""
    monkeypatch.chdir(tmp_path)

    def write(**changes):
        splits = (TRIALS, CELLS, TASKS, f"{TASKS}, 5 own trials", SCALE)
        groups = {TRIALS: (), SCALE: (("shift_width", 0.61), ("shift_sgd", 0.52))}
        rows = [
            measured(value, name, split, moment, groups.get(split, (("elman", 0.7), ("gru", 0.6))))
            for split in splits
            for moment, names in ((BEFORE, ("hyper-parameters", "all")), (EIGHTH, ("loss",)), (EPOCH, ("loss", "all")))
            for name, value in zip(names, (0.25, 0.125), strict=False)
        ]
        known = {
            "rows": rows,
            "served": {split: {BEFORE: "all", EIGHTH: "loss", EPOCH: "all"} for split in splits},
            "decisions": [replayed(), replayed(title=(SCALE, "shift_width"), gained=(-0.01, 0.02))],
            "champion": gain(0.01, 0.02, CELLS),
            "volume": between(0.001, 0.003),
        } | changes
        found = judged(gain(0.01, 0.03), gain(-0.01, 0.02, SCALE), gain(0.1, 0.2, f"{TASKS}, 5 own trials"), **known)
        monkeypatch.setattr(trials, "card", lambda: carded(found))
        card.main()
        return (tmp_path / "docs/evidence.md").read_text()

    return write


def test_the_page_of_the_card_holds_every_number_of_the_card(own_card, tmp_path):
    text = own_card()
    found = trials.card()
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {"evidence.md", "regret.png", "added.png"}
    assert min(colours(path.read_bytes()) for path in (tmp_path / "docs").glob("*.png")) > 20
    assert all(f"]({name})" in text for name in ("regret.png", "added.png"))
    for value in ("0123456789ab", "2026-07-08", "f00d", "| evidence | 1234 | learned from |", "| shift_width | 77 | judged on |"):
        assert value in text
    made_of = (tables.evidence, tables.gains, tables.decisions, tables.by_group)
    shown = [table for make in made_of for table in make(found.judgement)] + [tables.served(found.judgement)]
    assert len(shown) == 5 * 3 + 3 + 2 + 4 + 1
    assert all(f"\n\n{table.markdown()}\n" in text for table in shown)
    for heading in ("One task left out, 5 own trials: one epoch", "Other settings: before training"):
        assert f"### {heading}\n" in text
    assert "| shift_width | 0.61 (0.61) |" in text  # within each shift
    assert "saves 50 % of the training in a search" in text
    assert "clearly improve the predictions" in text
    assert "spectra earn their place" in text
    assert "No trial was repeated" in text
    assert "\n\n\n" not in text


def test_what_measuring_cost_is_a_median_share_of_the_trainings(own_card, monkeypatch):
    rows = {"training_seconds": [10.0, 20, 30], "measuring_seconds": [1.0, 4, 3], "spectrum_seconds": [0.5, 2, 9]}
    monkeypatch.setattr(trials, "kept", lambda: pd.DataFrame(rows))
    assert "the median was 10 % of a training for measuring, and 10 % for the whole spectrum" in own_card()


def test_the_page_of_a_card_without_searches_and_gains_claims_nothing(own_card, tmp_path):
    text = own_card(decisions=(), champion=None, volume=None, rows=[measured(None)], served={TRIALS: {EPOCH: "all"}})
    assert "do not show whether screening" in text
    assert "is not known" in text
    assert "regret.png" not in text
    assert "\n\n\n" not in text


def test_the_noise_ceiling_and_the_use_of_the_distance_are_printed_where_they_are_known(own_card, monkeypatch):
    assert "Far from" not in own_card()
    found = trials.card()
    known = {
        "ceiling": {"auc": Estimate(0.9375, 0.875, 1.0)},
        "outside": {"one task left out, one epoch": Estimate(0.5, 0.4, 0.6)},
    }
    monkeypatch.setattr(trials, "card", lambda: replace(found, judgement=replace(found.judgement, **known)))
    card.main()
    text = layout.Path("docs/evidence.md").read_text()
    assert "| AUC | 0.938 (0.875 to 1.000) |" in text
    assert "| one task left out, one epoch | 0.50 (0.40 to 0.60) |" in text
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
