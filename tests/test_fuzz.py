"""Random models are measured rightly or refused; and their truths are what the models themselves compute."""

import pytest
import torch
from fuzz import oracle, surroundings
from fuzz.families import FAMILIES, cases_of, make
from fuzz.oracle import OTHER, RIGHT, WRONG
from fuzz.runner import ground_fault, outcome_of, outcomes_of

from pipeline.core.errors import ModuleError

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # which forks, in Python 3.12 and later
WHOLE = 7  # models of each family


@pytest.fixture(scope="module")
def quick():
    """Outcomes of one model of each family."""
    return outcomes_of(cases_of(len(FAMILIES), 0))


@pytest.fixture(scope="module")
def whole():
    """Outcomes of further models of each family."""
    return outcomes_of(cases_of(WHOLE * len(FAMILIES), 1))


def faults(outcomes, family):
    """The outcomes of a family that should not be, in words."""
    return [str(o) for o in outcomes if o.family == family and o.faulty]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_random_model_is_measured_rightly_or_refused(family, quick):
    assert not faults(quick, family)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_random_models_are_measured_rightly_or_refused(family, whole):
    assert not faults(whole, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_truth_is_what_calls_of_its_model_give(family):
    found = [ground_fault(family, seed) for seed in range(4)]
    assert not any(found)


def test_a_model_is_the_same_whenever_it_is_made():
    for family in FAMILIES:
        one, two = make(family, 0), make(family, 0)
        assert str(one) == str(two)
        assert torch.equal(one.inputs, two.inputs)
        for a, b in zip(one.truths, two.truths, strict=True):
            assert torch.equal(a.step(a.start[0], a.inputs[0, 0], 0), b.step(b.start[0], b.inputs[0, 0], 0))


# Libraries that the fuzz must find fault with


NOT_LINEAR = ("pair", "layer norm", "pictures", "attention", "holds two")
MODULES = ("torch module", "torch cell", "projection", "holds")


def kinds(monkeypatch, families, stand_in):
    """The outcomes that a stand-in for the library gets; it takes the library and its arguments."""
    library = surroundings.lyapunov_spectrum
    monkeypatch.setattr(surroundings, "lyapunov_spectrum", lambda *given, **options: stand_in(library, *given, **options))
    return [outcome_of(family, seed) for family in families for seed in range(2)]


def test_a_library_that_refuses_everything_is_found_out(monkeypatch):
    def refuse(*_, **__):
        raise ModuleError("no")

    assert all(o.needless for o in kinds(monkeypatch, MODULES[:3], refuse))


def test_a_library_that_ends_in_an_error_is_found_out(monkeypatch):
    assert {o.kind for o in kinds(monkeypatch, MODULES, lambda *_, **__: 1 / 0)} == {OTHER}


def test_a_library_that_takes_the_inputs_in_another_order_is_found_out(monkeypatch):
    def rolled(library, model, inputs, **options):
        steps = int(inputs.shape[1] > inputs.shape[0])  # the axis of time
        return library(model, inputs.detach().roll(1, dims=steps), **options)

    assert RIGHT not in {o.kind for o in kinds(monkeypatch, NOT_LINEAR, rolled)}


def test_a_library_that_changes_the_model_is_found_out(monkeypatch):
    def careless(library, model, inputs, **options):
        next(model.parameters()).data.neg_()
        return library(model, inputs, **options)

    outcomes = kinds(monkeypatch, MODULES, careless)
    assert {o.kind for o in outcomes} == {WRONG}
    assert all("changed" in o.reason for o in outcomes)


def test_products_in_the_wrong_order_have_other_exponents():
    """Their sum is the same, so that it could not tell."""
    jacobians, _ = oracle.path_of(make("layer norm", 0).truths[0])
    (right, _), (wrong, _) = oracle.dense_exponents(jacobians, 0), oracle.dense_exponents(jacobians.mT, 0)
    assert torch.allclose(right.sum(-1), wrong.sum(-1))
    assert (right - wrong).abs().amax() > 100 * oracle.TOLERANCE


@pytest.mark.slow
def test_a_library_that_verifies_nothing_is_found_out(monkeypatch):
    library = surroundings.lyapunov_spectrum
    monkeypatch.setattr(surroundings, "lyapunov_spectrum", lambda *given, **options: library(*given, **options, verify=False))
    impure = ("cast linear map", "noise", "memory", "counter", "cut off")
    found = {o.family for o in outcomes_of([(f, seed) for f in impure for seed in range(4)]) if o.kind == WRONG}
    assert found == set(impure)
