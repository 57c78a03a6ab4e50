"""Codes of whole spectra, for the replication of AeLLE: against scikit-learn, linear algebra and a planted code."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from replications import _codes as codes


def spectra(size, seed):
    """Spectra on a curve: a hidden number within -1 and 1 that bends 12 exponents, and noise of 1 %."""
    random = np.random.default_rng(seed)
    hidden = random.uniform(-1, 1, size)
    ranks = np.linspace(0, 1, 12)
    plain = np.tanh(2 * hidden)[:, None] * (1 - ranks) - 2 * ranks * (1 + hidden[:, None] ** 2)
    return hidden, plain + random.normal(0, 0.01, plain.shape)


def explained(known, wanted, asked, answers):
    return LinearRegression().fit(known, wanted).score(asked, answers)


ENCODERS = [codes.Components(3), codes.Code(3, random_state=0)]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
def test_an_encoder_keeps_the_contract_of_scikit_learn(encoder):
    """The constructor only stores, fit returns self and leaves the parameters alone, a clone gives the same answers."""
    before = encoder.get_params()
    hidden, x = spectra(60, 0)
    twin = clone(encoder)
    assert encoder.fit(x, hidden) is encoder
    assert encoder.get_params().keys() == before.keys()
    assert all(value is before[name] for name, value in encoder.get_params().items())
    assert encoder.transform(x).shape == (60, 3)
    np.testing.assert_array_equal(twin.fit(x, hidden).transform(x), encoder.transform(x))


def test_principal_components_are_those_of_scikit_learn_on_standardised_columns():
    _, x = spectra(80, 0)
    standard = (x - x.mean(0)) / x.std(0)
    exact = PCA(4, svd_solver="full").fit_transform(standard)
    np.testing.assert_allclose(codes.Components(4).fit(x).transform(x), exact, rtol=0, atol=1e-12)  # rounding, values of order 1


def test_principal_components_are_the_right_singular_vectors_of_what_is_centred():
    _, x = spectra(80, 1)
    standard = (x - x.mean(0)) / x.std(0)
    left, sizes, _ = np.linalg.svd(standard, full_matrices=False)
    found = codes.Components(4).fit(x).transform(x)
    np.testing.assert_allclose(np.abs(found), np.abs(left * sizes)[:, :4], rtol=0, atol=1e-10)  # a component's sign is free


def test_one_number_holds_a_planted_code_that_no_single_principal_component_does():
    """The hidden number is read off the code by a straight line, from spectra that the encoder never saw."""
    (hidden, x), (asked, y) = spectra(300, 0), spectra(200, 1)
    learned = codes.Code(1, alpha=0.01, random_state=0).fit(x, hidden)
    principal = codes.Components(1).fit(x)
    linear = explained(principal.transform(x), hidden, principal.transform(y), asked)
    assert explained(learned.transform(x), hidden, learned.transform(y), asked) > 0.97 > linear


def test_the_outputs_give_back_the_spectrum_and_the_score():
    """Noise of 1 % beside exponents whose spread is of order 1 leaves less than 1 % of the variance unexplained."""
    hidden, x = spectra(300, 0)
    learned = codes.Code(2, alpha=0.01, random_state=0).fit(x, hidden)
    answers = learned.network_.predict(learned.scaler_.transform(x))
    standard = learned.scaler_.transform(x)
    assert answers.shape == (300, 13)
    assert 1 - ((answers[:, :-1] - standard) ** 2).mean() > 0.97
    assert np.corrcoef(answers[:, -1], hidden)[0, 1] > 0.97


def test_the_code_is_what_the_networks_narrow_layer_holds():
    """The rest of the network, laid by hand upon the code, gives the answers of scikit-learn's own forward pass."""
    hidden, x = spectra(50, 0)
    learned = codes.Code(3, random_state=0).fit(x, hidden)
    (first, last), (inner, outer) = learned.network_.coefs_[2:], learned.network_.intercepts_[2:]
    answers = np.tanh(learned.transform(x) @ first + inner) @ last + outer
    np.testing.assert_allclose(answers, learned.network_.predict(learned.scaler_.transform(x)), rtol=0, atol=1e-12)


def test_the_weight_turns_the_code_towards_the_score():
    """A score that hangs on a small part of the spectrum is in a code that minds it, not in one that minds spectra alone."""
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (400, 6)) @ np.diag([1, 1, 1, 1, 1, 0.5])
    score = x[:, 5]
    known, asked = slice(0, 200), slice(200, 400)
    blind, minding = (codes.Code(1, weight=w, alpha=0.1, random_state=0).fit(x[known], score[known]) for w in (0.0, 5.0))
    found = [explained(c.transform(x[known]), score[known], c.transform(x[asked]), score[asked]) for c in (blind, minding)]
    assert found[0] < 0.5 < found[1]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
def test_the_code_of_a_row_does_not_depend_on_what_is_asked_beside_it(encoder):
    (hidden, x), (_, y) = spectra(60, 0), spectra(20, 1)
    fitted = clone(encoder).fit(x, hidden)
    asked, other = fitted.transform(y), fitted.transform(np.vstack([y[:1], 50 - y]))
    np.testing.assert_allclose(asked[:1], other[:1], rtol=0, atol=1e-12)  # a product of another shape rounds differently
