"""What params.yaml may say, and the sentence that each mistake gets."""

import shutil
import subprocess

import pytest
from conftest import ROOT, YAML_1_2
from pydantic import ValidationError

from pipeline.core import config
from pipeline.core.config import Range
from pipeline.core.errors import ConfigError
from pipeline.core.hyper_parameters import DECLARED


def message(path):
    with pytest.raises(ConfigError) as raised:
        config.load(path=path)
    return str(raised.value)


def test_the_real_file_loads_and_says_what_it_says():
    content = YAML_1_2.load((ROOT / "params.yaml").read_text())
    found = config.load(path=ROOT / "params.yaml")
    assert found.model_dump(mode="json") == content


def test_every_key_of_the_file_is_required(small_params):
    def keys(section, prefix=""):
        for key, value in section.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{key}.")

    for key in list(keys(YAML_1_2.load((ROOT / "params.yaml").read_text()))):
        path = small_params({key: ...})
        assert message(path).startswith(f"{path}: {key} is missing; ")


def test_missing_key_names_those_of_its_section(small_params):
    assert message(small_params({"train.init_scale.low": ...})).endswith("train.init_scale has the keys low, high")
    assert "the file has the keys study, seed, device" in message(small_params({"seed": ...}))


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("sede", "seed"),
        ("train.learning_rat", "learning_rate"),
        ("spectrum.transients", "transient"),
        ("train.init_scale.hihg", "high"),
    ],
)
def test_unknown_key_is_named_with_the_one_that_was_meant(small_params, key, meant):
    path = small_params({key: 1})
    assert message(path).startswith(f"{path}: {key} is unknown; did you mean {meant}? ")


def test_unknown_key_like_no_other_is_named_with_those_there_are(small_params):
    found = message(small_params({"success.qqq": 1}))
    assert "did you mean" not in found
    assert "success.qqq is unknown; success has the keys threshold" in found


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("seed", "one", "'one'"),
        ("seed", -1, "-1"),
        ("seed", 2**32, "4294967296"),
        ("seed", True, "True"),
        ("seed", 1.5, "1.5"),
        ("seed", None, "None"),
        ("device", "gpu", "'gpu'"),
        ("execution.workers", 0, "0"),
        ("execution.workers", "all", "'all'"),
        ("execution.workers", True, "True"),
        ("execution.engine", "slurm", "'slurm'"),
        ("execution.cpus", 0, "0"),
        ("execution.gpus", -1, "-1"),
        ("tasks", [], "[]"),
        ("tasks", "mnist_rows", "'mnist_rows'"),
        ("cells", [], "[]"),
        ("prepare.size", "huge", "'huge'"),
        ("prepare", 3, "3"),
        ("train.trials", 0, "0"),
        ("train.trials", 2.0, "2.0"),
        ("train.trials", "4", "'4'"),
        ("train.trials", True, "True"),
        ("train.epochs", 0, "0"),
        ("train.early_epoch", 0, "0"),
        ("train.init_scale.low", 0, "0"),
        ("train.init_scale.low", -0.1, "-0.1"),
        ("train.init_scale.high", float("inf"), "inf"),
        ("train.init_scale.high", float("nan"), "nan"),
        ("train.learning_rate.low", "small", "'small'"),
        ("train.learning_rate.low", True, "True"),
        ("train.hidden_size", [], "[]"),
        ("train.clip_norm", [], "[]"),
        ("spectrum.sequences", 1, "1"),
        ("spectrum.transient", -1, "-1"),
        ("spectrum.steps", 7, "7"),
        ("success.threshold", 0, "0"),
        ("success.threshold", 1.0, "1.0"),
        ("success.threshold", float("nan"), "nan"),
        ("predictor.bootstrap", 99, "99"),
    ],
)
def test_wrong_value_is_named_with_its_key_and_what_was_found(small_params, key, value, found):
    path = small_params({key: value})
    for sentence in message(path).split("\n"):
        assert sentence.startswith(f"{path}: {key} is {found}; ")
        assert "should" in sentence


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [("train.hidden_size", [4, 0], "1"), ("train.clip_norm", [-1.0], "0"), ("train.hidden_size", [True], "0")],
)
def test_wrong_entry_of_a_list_is_named_with_its_place(small_params, key, value, place):
    path = small_params({key: value})
    assert message(path).startswith(f"{path}: {key}.{place} is {value[int(place)]!r}; ")


def test_each_mistake_gets_a_sentence(small_params):
    path = small_params({"seed": -1, "train.trials": 0, "spectrum.steps": ..., "train.trails": 3})
    lines = message(path).split("\n")
    assert len(lines) == 4
    for key in ("seed", "train.trials", "spectrum.steps", "train.trails"):
        assert any(line.startswith(f"{path}: {key} is ") for line in lines)


@pytest.mark.parametrize(("key", "name"), [("cells", "lstn"), ("tasks", "mnist")])
def test_unknown_cell_or_task_is_named_with_those_there_are(small_params, key, name):
    there = {"cells": "elman, gru, lstm", "tasks": "english_characters, fulda_runoff, mnist_rows"}[key]
    found = message(small_params({key: [name]}))
    assert f"there is no {key[:-1]} '{name}'; there are" in found
    assert all(n in found for n in there.split(", "))


@pytest.mark.parametrize(("key", "name"), [("cells", "lstm"), ("tasks", "mnist_rows")])
def test_repeated_name_is_refused(small_params, key, name):
    assert f"{key}: names should not repeat, found {name}, {name}" in message(small_params({key: [name, name]}))


@pytest.mark.parametrize("key", ["init_scale", "learning_rate"])
def test_range_from_high_to_low_is_refused(small_params, key):
    path = small_params({f"train.{key}.low": 0.5, f"train.{key}.high": 0.25})
    assert message(path) == f"{path}: train.{key}: low (0.5) should not exceed high (0.25)"


def test_range_of_one_value_is_a_range(small_params):
    assert config.load(path=small_params({"train.init_scale.low": 2.0, "train.init_scale.high": 2})).train.init_scale.low == 2


def test_early_epoch_after_the_last_is_refused(small_params):
    path = small_params({"train.early_epoch": 3})
    assert message(path) == f"{path}: train: early_epoch (3) should not exceed epochs (2)"


@pytest.mark.parametrize(
    ("content", "kind"), [("", "NoneType"), ("- 1\n- 2", "list"), ("seed", "str"), ("# nothing", "NoneType")]
)
def test_file_that_is_no_mapping_is_refused(tmp_path, content, kind):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    assert message(path) == f"{path} should be a mapping of keys to values, found {kind}"


@pytest.mark.parametrize("content", ["seed: [1", "a: b: c", "\tseed: 1", "seed: !!python/object:os.system {}"])
def test_invalid_yaml_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    found = message(path)
    assert found.startswith(f"{path} is not valid YAML: ")
    assert "\n" not in found
    assert "line 1" in found


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"seed: \xff\xfe1\n")
    assert str(path) in message(path)


def test_missing_file_is_refused(tmp_path):
    found = message(tmp_path / "params.yaml")
    assert found.startswith(f"cannot read {tmp_path / 'params.yaml'}: No such file or directory; ")


def test_folder_in_place_of_the_file_is_refused(tmp_path):
    assert message(tmp_path).startswith(f"cannot read {tmp_path}: Is a directory")


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-05", 1e-5), ("1e-3", 1e-3), (".5", 0.5), ("5.e-1", 0.5), ("1E+0", 1.0), ("1", 1.0), ("+.5", 0.5), ("1e", None)],
)
def test_numbers_are_those_of_yaml_one_point_two(small_params, text, number):
    path = small_params()
    content = path.read_text()
    old = f"low: {YAML_1_2.load(content)['train']['init_scale']['low']}"
    assert content.count(old) == 1
    path.write_text(content.replace(old, f"low: {text}"))
    if number is None:
        assert "train.init_scale.low is " in message(path)
    else:
        found = config.load(path=path).train.init_scale.low
        assert (found, type(found)) == (number, float)


def test_settings_cannot_be_changed(small_params):
    found = config.load(path=small_params())
    for section, key in ((found, "seed"), (found.train, "trials"), (found.train.init_scale, "low")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 1)
    assert isinstance(found.train.hidden_size, tuple)


def test_settings_can_be_told_apart_and_kept_in_a_set(small_params):
    one, again, other = (config.load(path=small_params(o)).spectrum for o in ({}, {}, {"spectrum.steps": 9}))
    assert len({one, again, other}) == 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("seed: 1\nseed: 2", 'not valid YAML: found duplicate key "seed".* in line 2$'),
        ("a:\n  b: 1\n  c: 2\n  b: 3", 'not valid YAML: found duplicate key "b".* in line 4$'),
        ("2024-01-01: 3", "'2024-01-01' is unknown"),
        ("? [1]\n: 3", "what no setting can be"),
        ("x: &a [1]\ny: *a", "without aliases .* in line 2$"),
        ("x: &a [*a]", "without aliases .* in line 1$"),
        ("x: !!binary eA==", "without aliases .* and tags .* in line 1$"),
        ("x: {<<: {a: 1}}", "x is unknown"),
    ],
)
def test_yaml_that_only_yaml_understands_is_refused(tmp_path, line, sentence):
    path = tmp_path / "params.yaml"
    path.write_text(line)
    with pytest.raises(ConfigError, match=sentence):
        config.load(path=path)


def test_only_the_sections_that_are_asked_for_are_there(small_params):
    settings = config.load("seed", "train", path=small_params())
    assert settings.seed == 2026
    assert settings.train.trials == 4
    with pytest.raises(AttributeError):
        settings.device  # noqa: B018


def test_every_hyper_parameter_is_a_key_of_train(small_params):
    assert set(DECLARED) | {"trials", "repeated", "epochs", "early_epoch", "state", "options"} == set(config.Train.model_fields)
    for name in DECLARED:
        path = small_params({f"train.{name}": ...})
        assert message(path).startswith(f"{path}: train.{name} is missing; ")


def test_options_of_cells_are_lists_or_ranges_of_cells_that_exist(small_params):
    options = {"leaky": {"leak": [0.3, 0.5]}, "esn": {"spectral_radius": {"low": 0.5, "high": 1.5}}}
    settings = config.load(path=small_params({"cells": ["leaky", "esn"], "train.options": options})).train
    assert settings.options["leaky"]["leak"] == (0.3, 0.5)
    assert settings.options["esn"]["spectral_radius"] == Range(low=0.5, high=1.5)
    assert "there is no cell 'leeky'" in message(small_params({"train.options": {"leeky": {"leak": [0.3]}}}))
    assert "train.options.leaky.leak" in message(small_params({"train.options": {"leaky": {"leak": 0.3}}}))


@pytest.mark.parametrize(
    "value", [0.3, [], [True], {"low": 0.1}, {"low": 1.0, "high": 0.5}, {"low": 0.1, "high": 1.0, "middle": 0.5}]
)
def test_a_wrong_option_is_one_sentence(small_params, value):
    path = small_params({"train.options": {"leaky": {"leak": value}}})
    (sentence,) = message(path).split("\n")
    assert sentence.startswith(f"{path}: train.options.leaky.leak should be a ")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("execution.workers", 0, "execution.workers is 0; it should be 'auto' or greater than or equal to 1"),
        (
            "study",
            "My Study",
            "study is 'My Study'; it should be at most 64 lower-case letters, digits and underscores, a letter first",
        ),
        ("train.hidden_size", [16.5], "train.hidden_size.0 is 16.5; it should be a valid integer"),
        (
            "execution.address",
            "http://a b",
            "execution.address should be auto, or a host and a port such as 10.0.0.1:6379, found 'http://a b'",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence(small_params, key, value, sentence):
    path = small_params({key: value})
    assert message(path) == f"{path}: {sentence}"


# Profiles


PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.stem)
def test_a_profile_is_valid_and_named_like_its_study_and_names_only_what_differs(path):
    settings = config.load(path=ROOT / "params.yaml", profile=path)
    assert settings.study == path.stem

    def same(overlay, base):
        for key, value in overlay.items():
            if isinstance(value, dict) and "low" not in value:
                yield from same(value, base.get(key, {}))
            elif value == base.get(key):
                yield key

    base = YAML_1_2.load((ROOT / "params.yaml").read_text())
    assert not list(same(YAML_1_2.load(path.read_text()), base))


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A repository with params.yaml and the profiles."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "state"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_profile_is_laid_over_the_committed_file_and_taken_off_again(workspace):
    path = workspace / "params.yaml"
    before = path.read_text()
    config.main(["wide"])
    wide = config.load(path=path)
    assert wide == config.load(path=ROOT / "params.yaml", profile=ROOT / "profiles/wide.yaml")
    assert "# learning rate" in path.read_text() or "log-uniform" in path.read_text()  # comments stay
    config.main(["paper"])
    assert config.load(path=path).study == "paper"
    config.main(["default"])
    assert path.read_text() == before


def test_a_profile_overwrites_no_changes_of_ones_own(workspace):
    path = workspace / "params.yaml"
    path.write_text(path.read_text().replace("seed: 2026", "seed: 7"))
    with pytest.raises(SystemExit, match=r"ERROR: params.yaml has changes of its own"):
        config.main(["wide"])
    assert "seed: 7" in path.read_text()


def test_a_profile_that_does_not_exist_is_named_with_those_that_do(workspace):
    shifts = ", ".join(f"shift_{what}" for what in ("batch", "decay", "epochs", "length", "sgd", "width"))
    there = f"default, evidence, leaks, paper, paper_small, {shifts}, wide"
    with pytest.raises(SystemExit, match=f"ERROR: there is no profiles/wild.yaml; there are {there}"):
        config.main(["wild"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "profiles/mine.yaml should be a mapping"),
        ("a: [", "profiles/mine.yaml is not valid YAML"),
        ("train: {trials: 1:30}", "params.yaml with profiles/mine.yaml: train.trials is '1:30'; it should be a valid integer"),
        ("train: {trials: 1000000000}", "params.yaml with profiles/mine.yaml: train.trials is 1000000000; it should be less"),
        ("a: &a 1\nb: *a", "profiles/mine.yaml is not valid YAML: settings should be written out, without aliases"),
        ("#" * 70_000, "profiles/mine.yaml has 70,000 bytes; a file of settings should have at most 65,536"),
        ("train: {trails: 3}", "params.yaml with profiles/mine.yaml: train.trails is unknown; did you mean trials?"),
    ],
)
def test_a_wrong_profile_is_one_sentence_and_changes_nothing(workspace, text, sentence):
    (workspace / "profiles/mine.yaml").write_text(text)
    before = (workspace / "params.yaml").read_text()
    with pytest.raises(SystemExit, match=sentence):
        config.main(["mine"])
    assert (workspace / "params.yaml").read_text() == before


def test_a_wrong_setting_of_a_profile_is_named_with_the_profile_where_nothing_is_written(workspace):
    profile = workspace / "profiles/mine.yaml"
    profile.write_text("seed: -1")
    with pytest.raises(ConfigError, match=r"^params.yaml with profiles/mine.yaml: seed is -1; "):
        config.load(profile=config.PROFILES / "mine.yaml")


@pytest.mark.parametrize("name", ["../params", "/etc/passwd", "", "wide.yaml"])
def test_a_profile_is_one_of_the_folder_of_profiles(workspace, name):
    with pytest.raises(ConfigError, match=r"^there is no profiles/"):
        config.take_profile(name)


def test_an_aliased_committed_file_is_refused_before_a_profile_is_laid_over_it(workspace):
    (workspace / "params.yaml").write_text("a: &a [1]\nb: *a")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "aliases"]
    subprocess.run(git, cwd=workspace, check=True)
    with pytest.raises(ConfigError, match=r"^the committed params.yaml is not valid YAML: .* without aliases"):
        config.take_profile("wide")


def test_a_profile_needs_a_committed_file(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"a profile is laid over the committed params.yaml; commit it"):
        config.main(["wide"])
