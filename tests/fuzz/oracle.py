"""What is right: the exponents of dense Jacobians, and the judgement of what was measured by them."""

import torch

from pipeline.core.errors import ModuleError, SurrogateWarning
from pipeline.spectrum.engine import random_basis

TOLERANCE = 1e-5  # nats per step, besides the rounding error that a spectrum states
# The same where the library chooses the interval of reorthonormalisation. Not included in the stated error is then that later
# steps amplify it in the trailing exponents of short runs: of 400 such runs, two were off by 2e-5 and 7e-5.
TOLERANCE_OF_LONG_INTERVALS = 1e-3
# And a share of the standard error, since directions may rotate among one another within it.
SHARE_OF_STANDARD_ERROR = 0.01
# Errors of the Jacobians, relative to their mean norm, that no exponent to be compared may be sensitive to: many times those of
# float64. Where a direction is lost, its exponent and those that follow depend on rounding alone.
PERTURBATION = 1e-14
RIGHT, REFUSAL, WRONG, OTHER = "right", "refused", "wrong", "other"


def path_of(truth):
    """Jacobians (T, B, S, S) along a truth's trajectories, by reverse mode, and which sequences stayed finite, (B,)."""
    jacobians = torch.zeros(*truth.inputs.shape[:2], *[truth.start.shape[1]] * 2, dtype=torch.float64)
    whole = torch.ones(len(truth.start), dtype=torch.bool)
    for b, s in enumerate(truth.start):
        for t, x in enumerate(truth.inputs[:, b]):
            jacobian = torch.autograd.functional.jacobian(lambda z, x=x, t=t: truth.step(z, x, t), s)
            s = truth.step(s, x, t).detach()
            whole[b] &= bool(s.isfinite().all() & jacobian.isfinite().all())
            if not whole[b]:
                break
            jacobians[t, b] = jacobian
    return jacobians, whole


def dense_exponents(jacobians, transient, order=None):
    """Exponents (B, S) in the order of the basis, and which of them rounding decides, (B, S).

    The basis is the engine's own, whose numbers are in the given order of the state's.
    """
    generator = torch.Generator().manual_seed(0)
    exponents = orthonormalised(jacobians, transient, order)
    unsure = torch.zeros_like(exponents, dtype=torch.bool)
    for _ in range(3):
        noise = torch.randn(jacobians.shape, generator=generator, dtype=torch.float64)
        size = PERTURBATION * torch.linalg.matrix_norm(jacobians).mean(0)[:, None, None]
        unsure |= ~((orthonormalised(jacobians + size * noise, transient, order) - exponents).abs() < TOLERANCE / 10)
    return exponents, unsure


def orthonormalised(jacobians, transient, order):
    """Exponents (B, S) of Jacobians (T, B, S, S)."""
    size = jacobians.shape[-1]
    basis = torch.empty(size, size, dtype=torch.float64)
    basis[slice(None) if order is None else order] = random_basis(size, size, basis).T
    basis, total = basis.expand_as(jacobians[0]), torch.zeros(jacobians.shape[1:3], dtype=torch.float64)
    for t, jacobian in enumerate(jacobians):
        basis, triangle = torch.linalg.qr(jacobian @ basis)
        if t >= transient:
            total = total + triangle.diagonal(dim1=-2, dim2=-1).abs().log()
    return total / (len(jacobians) - transient)


def judged(case, spectrum, error, warned):
    """The kind of an outcome, and the reason."""
    lines = str(error).splitlines() or [""]
    if isinstance(error, ModuleError):
        return (REFUSAL, lines[0]) if len(lines) == 1 else (OTHER, f"a refusal of {len(lines)} lines: {lines}")
    if error is not None:
        return OTHER, f"{type(error).__name__}: {lines[0][:300]}"
    if case.surrogate != any(issubclass(w.category, SurrogateWarning) for w in warned):
        return WRONG, f"{'no' if case.surrogate else 'a needless'} warning of surrogate derivatives"
    with torch.enable_grad():
        fault = fault_of(case, spectrum)
    return (WRONG, fault) if fault else (RIGHT, "")


def fault_of(case, spectrum):
    """Why a spectrum is none of those that are right; empty if it is one."""
    faults = []
    for truth in case.truths:
        faults.append(fault_against(case, truth, spectrum))
        if not faults[-1]:
            return ""
    return faults[0] if faults else f"measured, though no answer is right: {spectrum.exponents.tolist()}"


def fault_against(case, truth, spectrum):
    """How a spectrum differs from that of a truth, with the state's numbers in any of its orders."""
    size, steps, sequences = truth.start.shape[1], len(truth.inputs), len(truth.start)
    count = case.options.get("count", size)
    if spectrum.state_size != size:
        return f"{spectrum.state_size} numbers in the state instead of {size}"
    if spectrum.per_sequence.shape != (sequences, count):
        return f"exponents {tuple(spectrum.per_sequence.shape)} instead of {(sequences, count)}"
    jacobians, whole = path_of(truth)
    if (spectrum.diverged == whole).any():
        return f"diverged {spectrum.diverged.tolist()}, not finite {(~whole).tolist()}"
    allowed = spectrum.rounding_error.nan_to_num(torch.inf) * sequences + TOLERANCE
    if case.options["every"] is None:
        allowed += SHARE_OF_STANDARD_ERROR * spectrum.standard_error.nan_to_num(0.0)
        allowed[1:] += TOLERANCE_OF_LONG_INTERVALS
    faults = []
    for order in (None, *truth.orders):
        exponents, unsure = dense_exponents(jacobians, case.options.get("transient", steps // 5), order)
        faults.append(disagreement(spectrum.per_sequence, exponents[:, :count], unsure[:, :count], whole, allowed))
        if not faults[-1]:
            return ""
    return faults[0]


def disagreement(found, exponents, unsure, whole, allowed):
    """How exponents (B, k) differ from dense ones (B, k); empty if each is within what is allowed, (k,)."""
    worst = 0.0, ""
    for b in whole.nonzero().flatten().tolist():
        free = list(range(found.shape[1]))
        for exact in exponents[b][~unsure[b]].sort(descending=True).values.tolist():
            nearest = min(free, key=lambda j: abs(found[b, j].item() - exact))
            free.remove(nearest)
            error = abs(found[b, nearest].item() - exact)
            if not error <= allowed[nearest]:
                worst = max(worst, (error, f"sequence {b}: {found[b].tolist()} instead of {exponents[b].tolist()}"))
    if not worst[0] and not unsure[:, 0].any() and not allowed[0] < torch.inf:
        return "even the first exponent has no rounding error"
    return worst[1] and f"off by {worst[0]:.1e}, allowed {allowed.tolist()}; {worst[1]}"
