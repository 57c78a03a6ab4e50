"""The command line, in this process and once as a process of its own."""

import csv
import io
import json
import math
import os
import pickle
import re
import shlex
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT
from safetensors.torch import save_file
from torch import nn

from pipeline import StabilityPredictor, lyapunov_spectrum, screen, summary
from pipeline.command.main import main

SLOW, FAST = 0.9, 0.5  # what a diagonal network without saturation multiplies its two units by
EXACT = [math.log(SLOW), math.log(FAST)]
OWN = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.rnn = nn.GRU(4, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, 2)

    def forward(self, x, state=None):
        hidden, state = self.rnn(x, state)
        return self.readout(hidden), state
"""


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x, state):
        return torch.tanh(self.inner(x) + self.outer(state))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(name="module")
def _module():
    """An LSTM in lstm.safetensors, and inputs (30, 3, 4) for it in x.npy."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.LSTM(4, 8, num_layers=2)
        save_file(made.state_dict(), "lstm.safetensors")
        np.save("x.npy", torch.randn(30, 3, 4, dtype=torch.float64).numpy())
    return made


def inputs():
    return torch.from_numpy(np.load("x.npy"))


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def answer(*arguments):
    """What a command says in JSON; a constant that JSON lacks fails."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output

    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(result.stdout, parse_constant=refuse)


def refused(*arguments):
    """The sentence with which a command refuses its input."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)  # no other error came through
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def measured(model, x, **options):
    return lyapunov_spectrum(model, x, **options).exponents.tolist()


def diagonal(path, units=(SLOW, FAST)):
    """Weights of h' = relu(a h + x), which is linear for positive x: its exponents are the log of the diagonal a."""
    save_file({"weight_ih_l0": torch.ones(len(units), 1), "weight_hh_l0": torch.tensor(units, dtype=torch.float64).diag()}, path)


# spectrum


def test_a_linear_network_has_the_logs_of_its_eigenvalues():
    diagonal("linear.safetensors")
    np.save("ones.npy", np.ones((120, 1)))
    found = answer("spectrum", "linear.safetensors", "ones.npy", "--class", "rnn-relu")
    assert found["exponents"] == pytest.approx(EXACT, abs=1e-12)  # (FAST / SLOW)^(2 x 24), divided by 96 steps, is 6e-15
    assert (len(found["per_sequence"]), found["steps"], found["transient"], found["state_size"]) == (1, 96, 24, 2)


def test_the_table_shows_the_first_exponents_with_their_intervals(module):
    given = ("spectrum", "lstm.safetensors", "x.npy", "--class", "lstm")
    spectrum = lyapunov_spectrum(module, inputs())
    columns = [spectrum.exponents, *spectrum.confidence_interval(), spectrum.standard_error]
    table = run(*given).stdout.splitlines()
    assert table[0] == "32 exponents in nats per step, from 24 steps of 3 sequences"
    shown = [[float(word) for word in line.replace(" to ", " ").split()] for line in table[2:-1]]
    assert [row[0] for row in shown] == list(range(1, 21))
    for number, column in enumerate(columns, start=1):
        assert [row[number] for row in shown] == pytest.approx(column[:20].tolist(), rel=0.05, abs=5.1e-5)  # the digits shown
    assert table[-1] == "... and 12 more, which --all shows"
    assert len(run(*given, "--all").stdout.splitlines()) == 34


def test_an_exponent_of_a_direction_that_is_lost_is_null():
    diagonal("lost.safetensors", (SLOW, 0.0))
    np.save("ones.npy", np.ones((60, 1)))
    found = answer("spectrum", "lost.safetensors", "ones.npy", "--class", "rnn-relu")
    assert found["exponents"] == [pytest.approx(EXACT[0]), None]
    assert found["lost"] == 1


def test_warnings_of_the_library_are_lines_on_stderr(module):
    result = run("spectrum", "lstm.safetensors", "x.npy", "--class", "lstm", "--transient", "0")
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: exponents ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("bias", [True, False])
def test_a_state_dict_of_one_of_torchs_modules_is_measured_as_the_module(make, bias):
    model, x = make(4, 6, num_layers=2, bias=bias, dtype=torch.float64), torch.randn(30, 3, 4, dtype=torch.float64)
    save_file({f"model.rnn.{name}": tensor for name, tensor in model.state_dict().items()}, "model.safetensors")
    np.save("x.npy", x.numpy())
    found = answer("spectrum", "model.safetensors", "x.npy", "--class", make.__name__.lower())
    assert found["exponents"] == measured(model, x)


def test_numbers_of_the_other_byte_order_are_read(module):
    np.save("other.npy", np.load("x.npy").astype(">f8"))
    given = ("spectrum", "lstm.safetensors")
    assert answer(*given, "other.npy", "--class", "lstm") == answer(*given, "x.npy", "--class", "lstm")


def test_a_projected_lstm_is_measured_as_the_module():
    model, x = nn.LSTM(4, 6, proj_size=3), torch.randn(30, 3, 4, dtype=torch.float64)
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, "checkpoint.ckpt")
    np.save("x.npy", x.numpy())
    assert answer("spectrum", "checkpoint.ckpt", "x.npy", "--class", "lstm")["exponents"] == measured(model, x)


def test_of_two_recurrent_modules_the_prefix_says_which():
    first, second = nn.GRU(4, 3), nn.GRU(4, 5)
    x = torch.randn(30, 3, 4, dtype=torch.float64)
    parts = {f"{name}.{n}": t for name, part in (("a", first), ("b", second)) for n, t in part.state_dict().items()}
    torch.save(parts, "two.pt")
    np.save("x.npy", x.numpy())
    assert "--prefix a.|b." in refused("spectrum", "two.pt", "x.npy", "--class", "gru")
    assert answer("spectrum", "two.pt", "x.npy", "--class", "gru", "--prefix", "b.")["exponents"] == measured(second, x)


# models with code


@pytest.fixture(name="own")
def _own(module):
    """own.py with a class, and a model of it with its weights in own.pt."""
    with open("own.py", "w") as file:
        file.write(OWN)
    space = {}
    exec(OWN, space)
    made = space["Own"](5)
    torch.save(made.state_dict(), "own.pt")
    return made


OF_OWN = ("--class", "own.py:Own", "--arguments", '{"hidden_size": 5}', "--trust")


def test_a_class_of_ones_own_is_measured_whole_or_in_part(own):
    np.save("x.npy", inputs().transpose(0, 1).numpy())
    expected = measured(own.rnn, inputs())
    part = answer("spectrum", "own.pt", "x.npy", *OF_OWN, "--recurrent", "rnn", "--batch-first")
    assert part["exponents"] == expected
    whole = answer("spectrum", "own.pt", "x.npy", *OF_OWN, "--batch-first")  # starts from the state after the first input
    assert whole["exponents"] == measured(own, inputs())


def test_a_class_of_a_package_is_found_from_the_working_folder(own):
    named = ("--class", "own:Own", *OF_OWN[2:], "--recurrent", "rnn", "--batch-first")
    try:
        assert answer("spectrum", "own.pt", "x.npy", *named)["exponents"] == measured(own.rnn, inputs())
    finally:
        sys.modules.pop("own", None)


def test_the_order_of_axes_is_not_guessed(own):
    assert "add --batch-first" in refused("spectrum", "own.pt", "x.npy", *OF_OWN, "--recurrent", "rnn")
    save_program("script", nn.Linear(4, 4), (), "linear.pt")
    assert "no attribute batch_first" in refused("spectrum", "linear.pt", "x.npy", "--trust", "--batch-first")


def test_code_does_not_run_without_trust(own):
    with open("own.py", "a") as file:
        file.write("\nraise RuntimeError('executed')\n")
    assert "importing a module executes it" in refused("spectrum", "own.pt", "x.npy", *OF_OWN[:-1])
    assert "RuntimeError: executed" in refused("spectrum", "own.pt", "x.npy", *OF_OWN)


class _Touches:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_pickle_is_not_read_without_trust(module):
    torch.save(_Touches(), "evil.pt")
    assert "pickle" in refused("spectrum", "evil.pt", "x.npy", "--class", "lstm")
    assert not os.path.exists("executed")
    assert "holds a NoneType" in refused("spectrum", "evil.pt", "x.npy", "--trust")
    assert os.path.exists("executed")  # which is why


def test_an_exported_program_is_not_read_without_trust_because_it_may_hold_a_pickle(module):
    step = nn.GRUCell(4, 8)
    save_program("export", step, (torch.zeros(3, 4), torch.zeros(3, 8)), "step.pt2")
    evil = io.BytesIO()
    torch.save(_Touches(), evil)
    with zipfile.ZipFile("step.pt2") as good, zipfile.ZipFile("evil.pt2", "w") as bad:
        for info in good.infolist():
            name = zipfile.ZipInfo(info.filename)
            bad.writestr(name, evil.getvalue() if "sample_inputs" in info.filename else good.read(info))
    assert "pickle" in refused("spectrum", "evil.pt2", "x.npy", "--state-size", 8)
    assert not os.path.exists("executed")
    refused("spectrum", "evil.pt2", "x.npy", "--state-size", 8, "--trust")
    assert os.path.exists("executed")  # which is why


def test_a_pickled_module_is_measured_if_trusted(module):
    torch.save(module, "module.pt")
    assert "pickle" in refused("spectrum", "module.pt", "x.npy")
    assert answer("spectrum", "module.pt", "x.npy", "--trust")["exponents"] == measured(module, inputs())


def test_a_scripted_module_is_measured_if_trusted(module):
    save_program("script", module, (), "script.pt")
    assert "contains a program" in refused("spectrum", "script.pt", "x.npy")
    assert answer("spectrum", "script.pt", "x.npy", "--trust")["exponents"] == measured(module, inputs())
    with_class = answer("spectrum", "script.pt", "x.npy", "--trust", "--class", "lstm")
    assert with_class["exponents"] == measured(module, inputs())


def save_program(how, model, example, path):
    """Write a model as a program, without the warnings of torch about its own ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "export":
            torch.export.save(torch.export.export(model, example), path)
        else:
            (torch.jit.script(model) if how == "script" else torch.jit.trace(model, example)).save(path)


@pytest.mark.parametrize("how", ["script", "trace", "export"])
def test_a_program_that_takes_one_step_is_measured_if_trusted(module, how):
    step, example = Step(), (torch.zeros(3, 4), torch.zeros(3, 3))
    save_program(how, step, example, "step.pt2")
    found = answer("spectrum", "step.pt2", "x.npy", "--trust", "--state-size", 3)
    assert found["exponents"] == pytest.approx(measured(step, inputs(), state=torch.zeros(3, 3)), abs=1e-12)


@pytest.mark.parametrize("how", ["trace", "export"])
def test_a_program_of_a_sequence_of_fixed_length_is_refused_but_its_weights_are_measured(module, how):
    save_program(how, module, (torch.zeros(30, 3, 4),), "fixed.pt2")
    assert "fixed" in refused("spectrum", "fixed.pt2", "x.npy", "--trust")
    found = answer("spectrum", "fixed.pt2", "x.npy", "--trust", "--class", "lstm")
    assert found["exponents"] == measured(module, inputs())


# data


def test_all_forms_of_the_same_sequences_give_the_same(module):
    x = inputs().numpy()
    np.save("batch.npy", x.swapaxes(0, 1))
    np.savez("one.npz", x=x)
    np.savez_compressed("two.npz", x=x, other=np.zeros(3))
    with open("x.csv", "w") as file:
        file.write("Sequence,a,b,c,d\n")
        file.writelines(f"{name},{','.join(map(repr, x[t, b].tolist()))}\n" for t in range(30) for b, name in enumerate("pqr"))
    model = ("spectrum", "lstm.safetensors")
    expected = answer(*model, "x.npy", "--class", "lstm")
    for data in (["batch.npy", "--batch-first"], ["one.npz"], ["two.npz", "--array", "x"], ["x.csv"]):
        assert answer(*model, *data, "--class", "lstm") == expected


def test_a_table_without_names_is_one_sequence(module):
    np.savetxt("one.csv", inputs()[:, 0].numpy(), delimiter=",")  # 19 digits
    np.save("one.npy", inputs()[:, 0].numpy())
    tables = [answer("spectrum", "lstm.safetensors", data, "--class", "lstm") for data in ("one.csv", "one.npy")]
    assert tables[0] == tables[1]


def npy(shape, kind="<f8", body=b""):
    """A .npy file whose header claims this shape."""
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([[_Touches()]], object), allow_pickle=True)
    return file.getvalue()


def zipped(content, deflated=False):
    """A .npz file of one member; if it is deflated, with bytes in it that cannot be inflated."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        archive.writestr("x.npy", content)
    whole = file.getvalue()
    return whole[:40] + b"\xff" * 20 + whole[60:] if deflated else whole


def array(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


BAD_DATA = {
    "objects.npy": (pickled, "Python objects"),
    "objects.npz": (lambda: zipped(pickled()), "Python objects"),
    "pickle.npy": (lambda: pickle.dumps(_Touches()), "NumPy's format"),
    "huge.npy": (lambda: npy((10**6, 10**3, 10**3)), "1,000,000,000,000 numbers"),
    "huge.npz": (lambda: zipped(npy((10**6, 10**3, 10**3))), "1,000,000,000,000 numbers"),
    "negative.npy": (lambda: npy((-1, 3, 4)), "numbers"),
    "short.npy": (lambda: npy((30, 3, 4)), "cut off"),
    "short.npz": (lambda: zipped(npy((30, 3, 4))), "cut off"),
    "header.npy": (lambda: npy((30, 3, 4))[:40], "damaged"),
    "code.npy": (lambda: npy((30, 3, 4)).replace(b"(30, 3, 4)", b"exit(0)   "), "damaged"),
    "empty.npy": (lambda: b"", "NumPy's format"),
    "flat.npy": (lambda: array(np.zeros(4)), "shape (4,)"),
    "none.npy": (lambda: array(np.zeros((0, 3, 4))), "shape (0, 3, 4)"),
    "complex.npy": (lambda: array(np.zeros((30, 3, 4), complex)), "complex128"),
    "text.npy": (lambda: array(np.full((30, 3), "a")), "real numbers"),
    "nan.npy": (lambda: array(np.where(np.arange(360).reshape(30, 3, 4) == 17, np.nan, 0.0)), "inputs[1, 1, 1]"),
    "narrow.npy": (lambda: array(np.zeros((30, 3, 5))), "input size 4"),
    "inflated.npz": (lambda: zipped(array(np.ones((30, 3, 4))), deflated=True), "damaged"),
    "zip.npz": (lambda: b"PK\x03\x04 and no more", "damaged"),
    "words.csv": (lambda: b"a,b,c,d\n1,2,3,4\n1,2,rain,4\n", "'c' in line 3"),
    "gap.csv": (lambda: b"1,2,3,4\n1,,3,4\n", "'column 2' in line 2 of gap.csv is empty"),
    "nan.csv": (lambda: b"a,b,c,d\n1,2,3,nan\n", "'d' in line 2"),
    "ragged.csv": (lambda: b"1,2,3,4\n1,2\n", "line 2"),
    "unequal.csv": (lambda: b"sequence,a,b,c,d\np,1,2,3,4\np,1,2,3,4\nq,1,2,3,4\n", "equally long"),
    "numbered.csv": (lambda: b"0,1,2,3\n5,6,7,8\n", "may be names or numbers"),  # pandas' to_csv(index=False)
    "index.csv": (lambda: b",a,b,c\n0,5,6,7\n", "column 1 of index.csv has no name"),  # pandas' to_csv()
    "names.csv": (lambda: b"sequence\np\n", "no numbers"),
    "empty.csv": (lambda: b"", "no numbers"),
    "bytes.csv": (lambda: b"\xff\xfe\x00\x01", "damaged"),
    "inputs.parquet": (lambda: b"PAR1", ".npy, .npz or .csv"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_that_are_wrong_are_refused_in_one_sentence(module, name, tmp_path):
    make, expected = BAD_DATA[name]
    (tmp_path / name).write_bytes(make())
    assert expected in refused("spectrum", "lstm.safetensors", name, "--class", "lstm")
    assert not os.path.exists("executed")


def test_data_are_bounded(module):
    np.savetxt("one.csv", np.zeros((30, 4)), delimiter=",")
    for data in ("x.npy", "one.csv"):
        assert "--limit" in refused("spectrum", "lstm.safetensors", data, "--class", "lstm", "--limit", 100)
    np.savez("two.npz", a=np.zeros((3, 4)), b=np.zeros((3, 4)))
    assert "--array a|b" in refused("spectrum", "lstm.safetensors", "two.npz", "--class", "lstm")
    assert "holds no array 'c'" in refused("spectrum", "lstm.safetensors", "two.npz", "--class", "lstm", "--array", "c")


# models that are wrong


def cut(path):
    with open(path, "rb") as file:
        content = file.read()
    return content[: len(content) // 2]


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


BAD_MODELS = {
    "cut.safetensors": (lambda: cut("lstm.safetensors"), "lstm", "damaged"),
    "header.safetensors": (lambda: (10**15).to_bytes(8, "little") + b"{}", "lstm", "damaged"),
    "empty.safetensors": (lambda: b"", "lstm", "damaged"),
    "garbage.pt": (lambda: b"no model" * 20, "lstm", "no state dict"),
    "empty.pt": (lambda: b"", "lstm", "damaged"),
    "cut.pt": (lambda: saved(nn.GRU(4, 3).state_dict())[:900], "gru", "damaged"),
    "other.pt": (lambda: saved(nn.GRU(4, 3).state_dict()), "lstm", "9 rows for 3 units"),
    "reverse.pt": (lambda: saved(nn.GRU(4, 3, bidirectional=True).state_dict()), "gru", "bidirectional"),
    "linear.pt": (lambda: saved(nn.Linear(4, 3).state_dict()), "lstm", "no weight_ih_l0"),
    "number.pt": (lambda: saved(3), "lstm", "holds a int"),
    "int8.pt": (lambda: saved({"weight_ih_l0": torch.ones(3, 4).char(), "weight_hh_l0": torch.ones(3, 3)}), "rnn", "int8"),
    "flat.pt": (lambda: saved({"weight_ih_l0": torch.ones(3), "weight_hh_l0": torch.ones(3, 3)}), "rnn", "no matrices"),
    "extra.pt": (lambda: saved({**nn.GRU(4, 3).state_dict(), "gain": torch.ones(3)}), "gru", "gain"),
    "less.pt": (lambda: saved({n: t for n, t in nn.GRU(4, 3).state_dict().items() if n != "bias_hh_l0"}), "gru", "bias_hh_l0"),
    "class.pt": (lambda: saved(nn.GRU(4, 3).state_dict()), "transformer", "FILE.py:NAME"),
    "untold.pt": (lambda: saved(nn.GRU(4, 3).state_dict()), None, "--class"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_MODELS)
def test_models_that_are_wrong_are_refused_in_one_sentence(module, name, tmp_path):
    make, kind, expected = BAD_MODELS[name]
    (tmp_path / name).write_bytes(make())
    assert expected in refused("spectrum", name, "x.npy", *(["--class", kind] if kind else []))


def test_a_file_or_folder_that_cannot_be_read_is_named(module):
    assert "cannot read no.safetensors" in refused("spectrum", "no.safetensors", "x.npy", "--class", "lstm")
    assert "cannot read no.npy" in refused("spectrum", "lstm.safetensors", "no.npy", "--class", "lstm")
    assert "cannot read ." in refused("spectrum", ".", "x.npy", "--class", "lstm")
    assert "count is 100" in refused("spectrum", "lstm.safetensors", "x.npy", "--class", "lstm", "--count", 100)
    assert "no part 'gru'" in refused("spectrum", "lstm.safetensors", "x.npy", "--class", "lstm", "--recurrent", "gru")


def test_a_class_that_is_wrong_is_refused_in_one_sentence(own):
    for kind, arguments, expected in (
        ("own.py:Other", "{}", "defines no Other"),
        ("own.py:Own", "{}", "cannot be made"),
        ("own.py:Own", "{hidden", "cannot be made"),
        ("own.py:Own", "[1]", "cannot be made"),
        ("own.py:Own", '{"hidden_size": 6}', "size mismatch"),
        ("own.py:torch", "{}", "cannot be made"),
        ("none.py:Own", "{}", "cannot be executed"),
        ("no.such:Own", "{}", "cannot be executed"),
    ):
        given = ("--class", kind, "--arguments", arguments, "--trust")
        assert expected in refused("spectrum", "own.pt", "x.npy", *given)


# assess

KNOWN = ("--learning-rate", "0.01", "--updates", "500", "--weight-decay", "0.001", "--batch-size", "32")


def test_the_verdict_is_that_of_the_predictor(module):
    known = {"learning_rate": 0.01, "updates": 500, "weight_decay": 0.001, "batch_size": 32, "init_scale": 0.3}
    expected = StabilityPredictor.load().assess(module, inputs(), relative_loss=0.8, **known)
    given = ("assess", "lstm.safetensors", "x.npy", "--class", "lstm", *KNOWN, "--init-scale", 0.3, "--relative-loss", 0.8)
    found = answer(*given)
    assert found["probability"] == expected.probability
    assert found["reasons"] == list(expected.reasons)
    assert found["based_on"] == expected.based_on
    assert run(*given).stdout == f"{expected}\n"


def test_the_size_of_the_whole_model_counts_if_a_part_is_measured(own):
    np.save("x.npy", inputs().transpose(0, 1).numpy())
    given = (*KNOWN[:4], "--recurrent", "rnn", "--batch-first")
    found = answer("assess", "own.pt", "x.npy", *OF_OWN, *given)
    size = sum(p.numel() for p in own.parameters())
    expected = StabilityPredictor.load().assess(own.rnn, inputs(), learning_rate=0.01, updates=500, parameter_count=size)
    assert found["probability"] == expected.probability
    assert found["reasons"] == list(expected.reasons)


def test_a_low_probability_has_an_exit_code_of_its_own(module):
    given = ("assess", "lstm.safetensors", "x.npy", "--class", "lstm")
    assert [run(*given, "--fail-below", p).exit_code for p in ("0", "1")] == [0, 3]


def test_hyper_parameters_that_are_wrong_are_refused_in_one_sentence(module):
    given = ("assess", "lstm.safetensors", "x.npy", "--class", "lstm")
    assert "updates" in refused(*given, "--learning-rate", "0.01")
    assert "learning_rate" in refused(*given, *KNOWN, "--learning-rate", "-1")
    assert "batch_size" in refused(*given, *KNOWN, "--batch-size", "1.5")
    assert "mean 'last'" in refused(*given, *KNOWN, "--head", "las")
    assert "nowhere" in refused(*given, "--predictor", "nowhere")


def test_of_a_file_with_more_than_the_recurrent_part_all_numbers_are_counted(own):
    given = ("assess", "own.pt", "x.npy", "--class", "gru", *KNOWN[:4])
    size = sum(p.numel() for p in own.parameters())
    expected = StabilityPredictor.load().assess(
        own.rnn, inputs().transpose(0, 1), learning_rate=0.01, updates=500, parameter_count=size
    )
    assert answer(*given)["probability"] == expected.probability
    assert answer(*given, "--parameter-count", 10**6)["probability"] != expected.probability


# summary


def test_the_summary_is_that_of_the_library(module):
    given = ("summary", "lstm.safetensors", "x.npy", "--class", "lstm")
    expected = summary(module, inputs())
    assert run(*given).stdout == f"{expected}\n"
    assert answer(*given) == json.loads(json.dumps(expected.to_dict()))


def test_figures_are_drawn_into_files(module):
    for command in ("spectrum", "summary"):
        assert run(command, "lstm.safetensors", "x.npy", "--class", "lstm", "--plot", f"{command}.png").exit_code == 0
        with open(f"{command}.png", "rb") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"
        wrong = run(command, "lstm.safetensors", "x.npy", "--class", "lstm", "--plot", "no/folder.png")
        assert wrong.exit_code == 2
        assert "no/folder.png" in wrong.stderr.splitlines()[-1]


# screen

SEARCH = """
import torch


class Network(torch.nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.gru = torch.nn.GRU(4, hidden_size)
        self.readout = torch.nn.Linear(hidden_size, 1)

    def forward(self, x):
        return self.readout(self.gru(x)[0][-1])


def build(candidate):
    model = Network(candidate["hidden_size"])
    return model, torch.optim.AdamW(model.parameters(), lr=candidate["learning_rate"])


def loss(answers, targets):
    return torch.nn.functional.mse_loss(answers, targets)
"""


CANDIDATES = [{"hidden_size": size, "learning_rate": rate} for size, rate in ((8, 1e-6), (16, 0.01), (8, 0.01))]


@pytest.fixture(name="search")
def _search():
    """search.py, candidates in .csv and .json, and task.npz: the mean of what one input was."""
    with open("search.py", "w") as file:
        file.write(SEARCH)
    with open("candidates.csv", "w") as file:
        file.write("hidden_size,learning_rate\n8,1e-6\n16,0.01\n8,0.01\n")
    with open("candidates.json", "w") as file:
        json.dump(CANDIDATES, file)
    x = np.random.default_rng(0).normal(size=(20, 40, 4))
    np.savez("task.npz", inputs=x, targets=x[-10:, :, 0].mean(0)[:, None])
    return ("search.py", "candidates.csv", "task.npz", "--budget", 10, "--batch-size", 20, "--trust")


def test_candidates_are_ranked_as_by_the_library(search):
    space = {}
    exec(SEARCH, space)
    with np.load("task.npz") as data:
        x, y = (torch.from_numpy(data[name]).float() for name in ("inputs", "targets"))
    expected = screen(space["build"], CANDIDATES, x, y, loss=space["loss"], budget=10, batch_size=20, jobs=1)
    found = answer("screen", *search, "--jobs", 1, "--csv", "ranked.csv")
    del found["reasons"]  # which say how long it took
    assert found["probability"] == [verdict.probability for _, verdict in expected]
    assert found["learning_rate"][-1] == 1e-6  # learns nothing
    assert answer("screen", search[0], "candidates.json", *search[2:], "--jobs", 1).items() >= found.items()
    assert run("screen", *search, "--jobs", 1).stdout == f"{expected}\n"  # shows no times
    with open("ranked.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["probability"]) for row in rows] == found["probability"]
    assert [int(row["hidden_size"]) for row in rows] == found["hidden_size"]


@pytest.mark.slow
def test_a_script_is_executed_in_other_processes_too(search):
    one, two = (answer("screen", *search, "--jobs", jobs) for jobs in (1, 2))
    assert two["probability"] == one["probability"]
    assert two["candidate"] == one["candidate"]


def test_what_cannot_be_screened_is_refused_in_one_sentence(search):
    assert "--trust" in refused("screen", *search[:-1])
    for name, content, expected in (
        ("empty.json", "[]", "at least one candidate"),
        ("object.json", '{"hidden_size": 3}', "at least one candidate"),
        ("cut.json", '[{"hidden', "damaged"),
        ("twice.csv", "hidden_size,hidden_size\n3,4\n", "twice"),
        ("header.csv", "hidden_size,learning_rate\n", "at least one candidate"),
        ("ragged.csv", "hidden_size,learning_rate\n3\n", "line 2"),
        ("name.csv", "hidden,learning_rate\n3,0.1\n", "hidden_size"),
        ("candidates.txt", "", ".json or .csv"),
    ):
        with open(name, "w") as file:
            file.write(content)
        assert expected in refused("screen", search[0], name, *search[2:])
    np.savez("no_targets.npz", inputs=np.zeros((20, 40, 4)))
    np.savez("nan.npz", inputs=np.zeros((20, 40, 4)), targets=np.full((40, 1), np.nan))
    assert "holds no array 'targets'" in refused("screen", *search[:2], "no_targets.npz", *search[3:])
    assert "targets[0, 0]" in refused("screen", *search[:2], "nan.npz", *search[3:])
    for code, expected in (
        ("build = 3", "should define build"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit", "SystemExit"),
    ):
        with open("bad.py", "w") as file:
            file.write(code)
        assert expected in refused("screen", "bad.py", *search[1:])


# the page, and the process


def test_every_command_of_the_page_answers():
    page = (ROOT / "docs" / "command.md").read_text()
    program, script = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with torch.random.fork_rng():
        exec(program, {})
    (table,) = re.findall(r"```\n(hidden_size,.*?)```", page, re.DOTALL)
    for name, text in (("search.py", script), ("candidates.csv", table)):
        with open(name, "w") as file:
            file.write(text)
    commands = re.findall(r"^\$ rnn-stability (.*?)(?: > .*)?$", page, re.MULTILINE)
    assert {command.split()[0] for command in commands} == set(main.commands)
    for command in commands:
        assert run(*shlex.split(command)).exit_code == (3 if "--fail-below" in command else 0), command


def test_the_command_is_a_process_without_colour_or_progress_in_a_pipe(module):
    command = [sys.executable, "-m", "pipeline.command.main", "spectrum", "lstm.safetensors", "x.npy", "--class", "lstm"]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=True)
    assert done.stdout.startswith("32 exponents in nats per step")
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    wrong = subprocess.run([*command[:-1], "gru"], capture_output=True, text=True, env=surroundings)
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
