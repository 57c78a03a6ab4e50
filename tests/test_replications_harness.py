"""The harness of the replications: results on disk, the page, and the hash that tells outdated results."""

import pytest
from jinja2 import UndefinedError
from pydantic import TypeAdapter

from pipeline.core.cards import Estimate
from pipeline.core.code import hash_of, imported
from pipeline.core.registry import LIBRARY
from replications import __main__ as command
from replications import _harness as harness
from replications._harness import Outcome, Result, Row, span, verdict

pytestmark = pytest.mark.slow

FACTS = {"tasks": 7, "units": 32, "epochs": 6, "rates": (0.003, 0.01), "seed": 1}


@pytest.fixture
def result(tmp_path, monkeypatch):
    """The only result there is."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    outcome = Outcome([Row("loss |b|", "0.5", "0.4")], FACTS)
    result = Result("tasks", harness.code("tasks"), "a machine", "2026-01-01", 1.0, outcome)
    (tmp_path / "tasks.json").write_bytes(TypeAdapter(Result).dump_json(result))
    return result


def test_page_has_a_row_per_claim_and_a_section_per_result(result):
    (read,) = harness.results()
    page = harness.page([read])
    assert "| system | claim | what came out | verdict |" in page
    assert (
        "| [Well-known tasks](#tasks) | the loss of the best constant answer is what a formula says | it agrees for 7 tasks,"
        in page
    )
    assert "| loss &#124;b&#124; | 0.4 | 0.5 |" in page
    assert "learning rate 0.003 or 0.01, whichever" in page
    assert "earlier version" not in page


def test_page_says_which_results_are_outdated(result, monkeypatch):
    monkeypatch.setattr(harness, "code", lambda name: "another")
    assert "**These values were measured with an earlier version of the code.**" in harness.page([result])


def test_template_refuses_a_missing_fact():
    with pytest.raises(UndefinedError, match="tasks"):
        harness.prose("tasks", Outcome([], {}))


def test_page_is_not_written_before_all_have_results(result, monkeypatch, capsys):
    monkeypatch.setattr(command, "save_text", lambda *_: pytest.fail("the page should not be written"))
    command.main(["tasks"])
    assert "there is no result of cells, fixed_points" in capsys.readouterr().out


def test_results_of_another_version_do_not_count(result):
    (harness.RESULTS / "tasks.json").write_text('{"name": "tasks", "outcome": {"title": "Tasks"}}')
    assert harness.results() == []


def test_unknown_name_is_refused():
    with pytest.raises(SystemExit, match="there is no replication nonsense; there are cells, "):
        command.main(["nonsense"])


def test_every_replication_has_a_template_with_the_blocks_of_the_page():
    for name in harness.names():
        blocks = harness._ENVIRONMENT.get_template(f"{name}.md.j2").blocks
        assert {"title", "source", "summary", "claims", "run", "discussion"} <= set(blocks), name


def test_hash_changes_with_code_that_is_imported_and_not_with_its_docstrings(tmp_path):
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("from .second import x\n")
    hashes = []
    for text in ("x = 1\n", '"""A docstring."""\n\nx = 1  # a comment\n', "x = 2\n"):
        imported.cache_clear()
        hash_of.__globals__["_tree"].cache_clear()
        second.write_text(text)
        hashes.append(hash_of([first], tmp_path))
    assert hashes[0] == hashes[1] != hashes[2]


def test_public_names_of_the_library_lead_to_their_rooms():
    files = imported(harness.HERE / "fixed_points.py")
    assert {LIBRARY / "points" / "__init__.py", LIBRARY / "spectrum" / "__init__.py", LIBRARY / "tasks" / "flip_flop.py"} <= set(
        files
    )


def test_span_and_verdict():
    assert span([3.0, None, 1.0]) == "1 to 3"
    assert span([2.0, 2.0], 1) == "2.0"
    assert span([]) == "none"
    words = ("more", "less", "neither")
    assert [verdict(Estimate(0, *ends), *words) for ends in ((1, 2), (-2, -1), (-1, 1))] == list(words)
