"""Steps that are not what they are taken for are refused in one sentence; those that only look so are measured."""

import random

import numpy as np
import pytest
import torch
from draws import exact, module_of, noise
from torch import nn
from torch.testing import assert_close

from pipeline import fixed_points, lyapunov_spectra, lyapunov_spectrum
from pipeline.core.errors import ModuleError
from pipeline.spectrum import verify

GIVEN = noise(40, 3, 2)
WEIGHT = 0.6 * noise(4, 4)
INTO = noise(2, 4, seed=4)
BEGIN = 0.1 * noise(3, 4, seed=5)


def plain(state, x):
    return (state @ WEIGHT + x @ INTO).tanh()


class Own(nn.Module):
    """A module of one's own, around a function of the module, a state and an input."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x, state):
        return self.function(self, state, x)


def bfloat(state):
    return (state.bfloat16() @ WEIGHT.bfloat16()).double()


def partly(state, cut):
    """The plain step, with `cut` applied to one of the four numbers."""
    return torch.cat([plain(state, 0 * INTO.T[:1])[:, :3], cut((state @ WEIGHT)[:, 3:]).tanh()], dim=-1)


def counted(self, state, x, *, first):
    """Changes from call number `first` on."""
    self.calls += 1
    return plain(state, x) * (1.0 if self.calls < first else 0.9)


def adapting(self, state, x):
    new = plain(state - self.trace, x)
    self.trace = 0.9 * self.trace + 0.1 * new.detach()
    return new


def in_autocast(state, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return (state.float() @ WEIGHT.float()).double() + x @ INTO


def own_generator():
    generator = np.random.default_rng(0)
    return lambda s, x: plain(s, x) + 0.01 * float(generator.normal())


def own_torch_generator():
    generator = torch.Generator().manual_seed(0)
    return lambda s, x: plain(s, x) + 0.01 * torch.randn(4, generator=generator, dtype=torch.float64)


LOWER = "lower precision|rounds|instead of"
RANDOM = "random"
MEMORY = "memory of its own"
MIX = "sequences mix"
CUT = "cut off from differentiation"
IMPURE = {
    "float32 inside": (lambda: lambda s, x: plain(s.float().double(), x), LOWER),
    "float32 product": (lambda: lambda s, x: (s.float() @ WEIGHT.float()).double() + x @ INTO, LOWER),
    "bfloat16 inside": (lambda: lambda s, x: bfloat(s) + x @ INTO, LOWER),
    "half inside": (lambda: lambda s, x: plain(s.half().double(), x), LOWER),
    "float32 in one branch": (lambda: lambda s, x: partly(s, lambda u: u.float().double()), LOWER),
    "autocast inside": (lambda: in_autocast, LOWER),
    "float32 comes back": (lambda: lambda s, x: plain(s, x).float(), r"torch\.float32 instead of torch\.float64"),
    "float32 zeros": (lambda: lambda s, x: torch.zeros(s.shape).copy_(plain(s, x)), r"torch\.float32 instead of torch\.float64"),
    "dropout": (lambda: lambda s, x: nn.functional.dropout(plain(s, x)), RANDOM),
    "rare dropout": (lambda: lambda s, x: nn.functional.dropout(plain(s, x), 1e-4), RANDOM),
    "noise": (lambda: lambda s, x: plain(s, x) + 0.1 * torch.randn_like(s), RANDOM),
    "tiny noise": (lambda: lambda s, x: plain(s, x) + 1e-13 * torch.randn_like(s), RANDOM),
    "noise that acts rarely": (lambda: lambda s, x: plain(s, x) + (torch.rand(()) > 0.999).double(), RANDOM),
    "noise of NumPy": (lambda: lambda s, x: plain(s, x) + 0.1 * np.random.normal(), RANDOM),  # noqa: NPY002
    "noise of Python": (lambda: lambda s, x: plain(s, x) + 0.1 * random.random(), RANDOM),
    "a generator of NumPy": (own_generator, RANDOM),
    "a generator of torch": (own_torch_generator, RANDOM),
    "memory in a buffer": (lambda: Own(adapting, trace=torch.zeros(3, 4)), MEMORY),
    "memory in an attribute": (lambda: Own(lambda m, s, x: counted(m, s, x, first=2), calls=0), MEMORY),
    "memory from the 30th call on": (lambda: Own(lambda m, s, x: counted(m, s, x, first=30), calls=0), MEMORY),
    "all is detached": (lambda: lambda s, x: plain(s.detach(), x), CUT),
    "one number is detached": (lambda: lambda s, x: partly(s, torch.detach), CUT),
    "data": (lambda: lambda s, x: plain(s.data, x), CUT),
    "inference mode": (lambda: torch.inference_mode()(plain), CUT),
    "through NumPy": (lambda: lambda s, x: torch.from_numpy(np.tanh(s.detach().numpy() @ WEIGHT.numpy())) + x @ INTO, CUT),
    "straight-through rounding": (lambda: lambda s, x: plain(s + (s.round() - s).detach(), x), CUT),
    "batch statistics": (lambda: lambda s, x: nn.functional.batch_norm(plain(s, x), None, None, training=True), MIX),
    "mean over the batch": (lambda: lambda s, x: plain(s - 0.1 * s.mean(0), x), MIX),
    "largest of the batch": (lambda: lambda s, x: plain(s, x) / (1 + s.abs().max()), MIX),
    "the next sequence": (lambda: lambda s, x: plain(s, x) + 0.1 * s.roll(1, 0), MIX),
    "softmax over the batch": (lambda: lambda s, x: plain(s, x) + s.softmax(0), MIX),
    "input of another sequence": (lambda: lambda s, x: plain(s, x.flip(0)), MIX),
    "flattened": (lambda: lambda s, x: plain(s, x) + 0.1 * s.flatten().cumsum(0).view(3, 4), MIX),
    "other structure": (lambda: lambda s, x: (plain(s, x), s), "tuple of 2"),
    "complex comes back": (lambda: lambda s, x: plain(s, x) + 0j, r"torch\.complex128 instead of torch\.float64"),
    "raises": (lambda: lambda s, x: s @ WEIGHT[:3], "cannot be measured: mat1 and mat2"),
    "raises nothing useful": (lambda: lambda s, x: {}["h"], "KeyError"),
}


@pytest.mark.parametrize("name", IMPURE)
def test_impure_step_is_refused_in_one_sentence(name):
    build, words = IMPURE[name]
    with pytest.raises(ModuleError, match=words) as raised:
        lyapunov_spectrum(build(), GIVEN, state=BEGIN, every=1)
    assert type(raised.value) is ModuleError
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [n for n, (_, words) in IMPURE.items() if words in (RANDOM, LOWER, CUT)])
def test_impure_step_has_no_fixed_points_either(name):
    with pytest.raises(ModuleError):
        fixed_points(IMPURE[name][0](), GIVEN, state=BEGIN, seeds=8)


@pytest.mark.parametrize("name", ["mean over the batch", "noise of NumPy", "memory in a buffer"])
def test_impure_step_is_refused_without_a_state_too(name):
    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = IMPURE[name][0]()

        def forward(self, x, state=None):
            state = BEGIN if state is None else state
            for one in x:
                state = self.step(one, state) if isinstance(self.step, nn.Module) else self.step(state, one)
            return state.sum(-1), state

    with pytest.raises(ModuleError):
        lyapunov_spectrum(Sequences(), GIVEN)


PURE = {
    "kept but never read": lambda: Own(lambda m, s, x: setattr(m, "last", plain(s, x)) or m.last),
    "counter that is never read": lambda: Own(lambda m, s, x: counted(m, s, x, first=10**9), calls=0),
    "no gradients inside": lambda: torch.no_grad()(plain),
    "kink at zero": lambda: lambda s, x: plain(s, x) + 0.0 * torch.relu(s) * 0,
    "in place": lambda: lambda s, x: s.mul_(2).div_(2) @ WEIGHT + (x @ INTO) - (s @ WEIGHT + x @ INTO) + plain(s, x),
    "data dependent": lambda: lambda s, x: plain(s, x) if float(s.detach().abs().sum()) < 1e9 else s,
    "seeded noise": lambda: lambda s, x: plain(s, x) + 0.0 * torch.randn(4, generator=torch.Generator().manual_seed(1)),
    "modes of evaluation": lambda: Own(lambda m, s, x: m.drop(plain(s, x)), drop=nn.Dropout(0.5)).eval(),
    "float32 constants": lambda: lambda s, x: plain(s, x) * torch.ones(4),
    "views": lambda: lambda s, x: plain(s.T.T[:, torch.arange(4)], x),
}


@pytest.mark.parametrize("name", PURE)
def test_pure_step_that_looks_impure_is_measured(name):
    found = lyapunov_spectrum(PURE[name](), GIVEN, state=BEGIN, every=1)
    assert_close(found.per_sequence, lyapunov_spectrum(plain, GIVEN, state=BEGIN, every=1).per_sequence, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore::pipeline.core.errors.RoundingWarning")
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("gain", [1e-3, 1.0, 30.0])
def test_size_of_the_state_and_of_its_growth_does_not_matter(scale, gain):
    for function in (torch.tanh, torch.relu, torch.sin, torch.abs, lambda u: u * torch.sigmoid(u), nn.functional.hardtanh):
        step = lambda s, x, f=function: scale * f(gain * (s / scale) @ WEIGHT + x @ INTO)  # noqa: E731
        found = lyapunov_spectrum(step, GIVEN, state=scale * BEGIN, every=1)
        assert not found.exponents.isnan().any()


def test_state_that_explodes_is_no_reason_to_refuse():
    begin = exact(0.5, 0.8, 2.0)[:, None] * torch.ones(3, 4)
    found = lyapunov_spectrum(lambda s, x: s.square() + 0.1, GIVEN, state=begin, every=1)
    assert found.diverged.tolist() == [False, False, True]


def test_weights_that_are_not_finite_give_nan_and_no_error():
    network = module_of(nn.GRU, 2, 4)
    network.weight_hh_l0.data[0, 0] = torch.nan
    assert lyapunov_spectrum(network, GIVEN).exponents.isnan().all()
    own = Own(lambda m, s, x: m.cell(x, s), cell=module_of(nn.GRUCell, 2, 4))
    own.cell.weight_hh.data[0, 0] = torch.nan
    assert lyapunov_spectrum(own, GIVEN, state=BEGIN).exponents.isnan().all()


def test_module_that_depends_on_its_precision_is_refused():
    def step(self, state, x):
        return plain(state, x) if self.weight.dtype == torch.float64 else plain(state.double(), x.double()).float() * 0.5

    with pytest.raises(ModuleError, match=r"own torch\.float32 computes another step than one in torch\.float64"):
        lyapunov_spectrum(Own(step, weight=torch.ones(1)), GIVEN, state=BEGIN)


def test_module_that_sets_itself_up_in_its_first_call_is_refused_before_it_and_measured_after_it():
    def step(self, state, x):
        if self.scale is None:
            self.scale = 1 / (1 + x.detach().abs().mean())
        return plain(state, x) * self.scale

    own = Own(step, scale=None)
    with pytest.raises(ModuleError, match="sets itself up in its first call"):
        lyapunov_spectrum(own, GIVEN, state=BEGIN)
    own(GIVEN[0], BEGIN)
    assert lyapunov_spectrum(own, GIVEN, state=BEGIN).exponents.isfinite().all()


def above(state, other, bound):
    """The state, with `other` of it in the sequences where it is large."""
    return torch.where((state.abs().amax(-1, keepdim=True) > bound), other, state)


RARE = {
    "cast of large states": (lambda s, x: plain(above(s, s.float().double(), 0.9), x), "derivative|another state"),
    "large states are detached": (lambda s, x: plain(above(s, s.detach(), 0.9), x), CUT),
    "large states mix": (lambda s, x: plain(above(s, s + 0.1 * s.mean(0), 0.9), x), MIX),
}


@pytest.mark.parametrize("name", RARE)
def test_step_that_is_impure_far_from_the_start_alone_is_refused_after_the_measurement(name):
    step, words = RARE[name]
    drive = GIVEN * torch.linspace(0, 1, len(GIVEN)).double()[:, None, None]
    assert plain(BEGIN, drive[0]).abs().max() < 0.9
    with pytest.raises(ModuleError, match=words):
        lyapunov_spectrum(step, drive, state=0.1 * BEGIN, every=1)


def test_step_for_a_fixed_number_of_sequences_is_measured_and_tried_again():
    fixed = torch.ones(3, 4).double()
    found = lyapunov_spectrum(lambda s, x: plain(s, x) * fixed, GIVEN, state=BEGIN, every=1)
    assert_close(found.per_sequence, lyapunov_spectrum(plain, GIVEN, state=BEGIN, every=1).per_sequence, rtol=0, atol=1e-9)
    step = RARE["large states are detached"][0]
    with pytest.raises(ModuleError, match=CUT):
        lyapunov_spectrum(lambda s, x: step(s, x) * fixed, GIVEN, state=BEGIN, every=1)


def test_read_module_whose_forward_is_another_function_is_refused(monkeypatch):
    forward = nn.GRU.forward
    monkeypatch.setattr(nn.GRU, "forward", lambda self, x, hx=None: forward(self, 2 * x, hx))
    with pytest.raises(ModuleError, match="another state than its weights do"):
        lyapunov_spectrum(module_of(nn.GRU, 2, 4), GIVEN)


def unsettled():
    """A network whose spectral norm needs many iterations, and makes one at each call in training mode."""
    network = module_of(nn.GRU, 2, 4)
    network.weight_hh_l0.data.copy_(torch.linalg.qr(noise(12, 4))[0] * exact(1.0, 0.99, 0.98, 0.97))
    return nn.utils.parametrizations.spectral_norm(network, "weight_hh_l0")


def test_power_iteration_in_training_mode_is_refused_and_changes_nothing():
    network = unsettled().train()
    before = {n: v.clone() for n, v in network.state_dict().items()}
    with pytest.raises(ModuleError, match=r"eval\(\)"):
        lyapunov_spectrum(network, GIVEN)
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())


def test_without_verification_a_module_is_taken_as_it_is():
    mixed, expected = IMPURE["mean over the batch"][0](), plain
    for step in (mixed, expected):
        assert lyapunov_spectrum(step, GIVEN, state=BEGIN, verify=False).exponents.isfinite().all()
    network = module_of(nn.GRU, 2, 4)
    unverified = lyapunov_spectrum(network, GIVEN, verify=False)
    assert torch.equal(unverified.per_sequence, lyapunov_spectrum(network, GIVEN).per_sequence)


def test_each_module_of_an_ensemble_is_verified():
    networks = [unsettled().eval() for _ in range(2)]
    assert len(lyapunov_spectra(networks, GIVEN)) == 2
    networks[1].train()
    with pytest.raises(ModuleError, match=r"eval\(\)"):
        lyapunov_spectra(networks, GIVEN)


def test_verification_costs_a_few_calls():
    calls = []

    def step(state, x):
        calls.append(0)
        return plain(state, x)

    counts = []
    for verified in (True, False):
        calls.clear()
        lyapunov_spectrum(step, GIVEN, state=BEGIN, verify=verified)
        counts.append(len(calls))
    assert 0 < counts[0] - counts[1] <= 20


def test_finite_difference_finds_what_each_precision_allows():
    state, x = BEGIN, GIVEN[0]
    assert verify.derivative(plain, [(state, x)]) == (verify.push_forward, False)
    with pytest.raises(ModuleError, match="lower precision"):
        verify.derivative(lambda s, x: plain(s.float().double(), x), [(state, x)])
    single = lambda s, x: (s @ WEIGHT.float() + x @ INTO.float()).tanh()  # noqa: E731
    assert verify.derivative(single, [(state.float(), x.float())])[0] is verify.push_forward
    with pytest.raises(ModuleError, match=r"lower precision|rounds"):
        verify.derivative(lambda s, x: single(s.bfloat16().float(), x), [(state.float(), x.float())])


# Found by strangers


class Chunked(nn.Module):
    """A sequence module that does something at every eighth step of a call."""

    def __init__(self, every):
        super().__init__()
        self.cell, self.every = module_of(nn.GRUCell, 2, 4), every

    def forward(self, x, state):
        for number, one in enumerate(x, start=1):
            state = self.cell(one, state)
            state = 0.5 * state if number % self.every == 0 else state
        return state.sum(-1), state


@pytest.mark.parametrize("every", [2, 8, 20])
def test_sequences_that_are_no_steps_are_found_after_some_steps_too(every):
    with pytest.raises(ModuleError, match="several steps at once"):
        lyapunov_spectrum(Chunked(every), GIVEN, state=BEGIN)


def test_dilated_convolution_before_a_module_of_torch_is_refused():
    class Dilated(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.rnn = nn.Conv1d(2, 2, 2, dilation=30).double(), module_of(nn.GRU, 2, 4)

        def forward(self, x, state=None):
            padded = nn.functional.pad(x.permute(1, 2, 0), (30, 0))
            return self.rnn(self.convolution(padded).permute(2, 0, 1), state)

    with pytest.raises(ModuleError, match="several steps at once"):
        lyapunov_spectrum(Dilated(), GIVEN)


@pytest.mark.parametrize("sequences", [1, 16])
def test_rare_event_of_a_hidden_counter_is_found(sequences):
    step = lambda m, s, x: counted(m, s, x, first=10**9) * (0.01 if m.calls % 64 == 0 else 1.0)  # noqa: E731
    with pytest.raises(ModuleError, match=r"memory of its own|derivative|mix"):
        lyapunov_spectrum(Own(step, calls=1), noise(300, sequences, 2), state=torch.zeros(sequences, 4))


def test_clipping_with_a_straight_through_derivative_has_no_fixed_points():
    def clip(state, x):
        new = 2 * state + x[:, :1]
        return new + (new.clamp(-1, 1) - new).detach()

    with pytest.raises(ModuleError, match=CUT):
        fixed_points(clip, torch.zeros(60, 2, 3), state=exact(1e-3, 2e-3).expand(2, 2), seeds=16)


def test_derivative_that_is_wrong_at_the_fixed_point_alone_is_refused():
    def step(state, x):
        new = 3 * (2 * state).tanh()
        cut = 3 * (state.detach() * 2).tanh() + 0.3 * (state - state.detach())
        return torch.where(new.abs() > 2.9, cut, new)

    with pytest.raises(ModuleError, match=CUT):
        fixed_points(step, torch.zeros(2, 2, 3), state=exact(0.1, 0.2).expand(2, 2), seeds=16)


def test_reverse_mode_is_used_where_it_is_right_and_forward_mode_is_not():
    class WrongForward(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(value):
            return value.tanh()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)
            ctx.save_for_forward(output)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (1 - ctx.saved_tensors[0].square())

        @staticmethod
        def jvp(ctx, tangent):
            return 3 * tangent

    found = lyapunov_spectrum(lambda s, x: WrongForward.apply(s @ WEIGHT + x @ INTO), GIVEN, state=BEGIN, every=1)
    assert_close(found.per_sequence, lyapunov_spectrum(plain, GIVEN, state=BEGIN, every=1).per_sequence, rtol=0, atol=1e-9)


def test_derivative_that_is_not_finite_at_a_finite_state_is_refused():
    with pytest.raises(ModuleError, match="not finite where the state is"):
        lyapunov_spectrum(lambda s, x: plain(s, x) + (0 * s).sqrt(), GIVEN, state=BEGIN)


def test_derivative_that_is_finite_in_reverse_mode_alone_is_measured():
    found = lyapunov_spectrum(lambda s, x: plain(s, x) + torch.relu(s - 1e9).sqrt(), GIVEN, state=BEGIN, every=1)
    assert_close(found.per_sequence, lyapunov_spectrum(plain, GIVEN, state=BEGIN, every=1).per_sequence, rtol=0, atol=1e-9)


@pytest.mark.parametrize("arguments", ["x, h", "inputs, state"])
def test_names_of_parameters_that_contradict_the_order_are_refused(arguments):
    first, second = arguments.split(", ")
    step = eval(f"lambda {arguments}: ({second} + {first}).tanh()")
    with pytest.raises(ModuleError, match="takes the state first"):
        lyapunov_spectrum(step, noise(20, 2, 4), state=torch.zeros(2, 4))

    class Carry(nn.Module):
        def forward(self, carry, x):
            return (carry + x).tanh()

    with pytest.raises(ModuleError, match=r"takes carry before x; it should be forward\(x, state\)"):
        lyapunov_spectrum(Carry(), noise(20, 2, 4), state=torch.zeros(2, 4))


def test_bound_forward_is_the_module():
    cell, inputs = module_of(nn.GRUCell, 4, 4), noise(20, 2, 4)
    assert torch.equal(lyapunov_spectrum(cell.forward, inputs).per_sequence, lyapunov_spectrum(cell, inputs).per_sequence)


@pytest.mark.parametrize("answer", [lambda h, c: (h, c, h + c), lambda h, c: (h + c, h, c)], ids=["state first", "output first"])
def test_answer_in_which_two_parts_could_be_the_state_is_refused(answer):
    def step(self, state, x):
        return answer(*self.cell(x, state))

    state = (torch.zeros(3, 4), torch.zeros(3, 4))
    with pytest.raises(ModuleError, match="more than one part of the 3"):
        lyapunov_spectrum(Own(step, cell=module_of(nn.LSTMCell, 2, 4)), GIVEN, state=state)


@pytest.mark.filterwarnings("ignore::pipeline.core.errors.RoundingWarning")
def test_norm_over_all_of_a_single_sequence_is_measured_but_has_no_fixed_points():
    def step(state, x):
        new = plain(state, x) + 1
        return new / new.norm()

    by_row = lambda s, x: (plain(s, x) + 1) / (plain(s, x) + 1).norm(dim=-1, keepdim=True)  # noqa: E731
    found = lyapunov_spectrum(step, GIVEN[:, :1], state=BEGIN[:1], every=1, count=3)
    expected = lyapunov_spectrum(by_row, GIVEN[:, :1], state=BEGIN[:1], every=1, count=3)
    assert_close(found.per_sequence, expected.per_sequence, rtol=0, atol=1e-9)
    with pytest.raises(ModuleError, match=MIX):
        fixed_points(step, GIVEN[:, :1], state=BEGIN[:1], seeds=8)


def test_complex_numbers_beside_an_odd_number_of_real_ones_are_measured():
    begin = (torch.zeros(3, 3, dtype=torch.complex128), torch.zeros(3, 3))
    found = lyapunov_spectrum(lambda s, x: ((0.7 + 0.2j) * s[0] + x[:, :1], 0.5 * s[1]), GIVEN, state=begin, transient=0)
    expected = 6 * exact(0.53).sqrt().log() + 3 * exact(0.5).log()
    assert_close(found.per_sequence.sum(-1), expected.expand(3), rtol=0, atol=1e-9)


def test_module_with_weights_of_unknown_shape_should_be_called_first():
    lazy = Own(lambda m, s, x: m.into(x).tanh() + 0.5 * s, into=nn.LazyLinear(4))
    with pytest.raises(ModuleError, match="call it once first"):
        lyapunov_spectrum(lazy, GIVEN, state=BEGIN)
