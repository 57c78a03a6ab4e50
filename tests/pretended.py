"""A GPU that is pretended: its tensors are computed on the CPU, and what CUDA would refuse or wait for is noticed.

Unlike torch's fake tensors, its tensors have values, so that code that depends on these runs, autograd and torch.func work, and
results can be compared with those of the CPU. Not pretended are the kernels: cuDNN, cuBLAS and cuSOLVER.
"""

import sys
from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

LIBRARY = Path(__file__).parent.parent / "pipeline"
CUDA, META = torch.device("cuda", 0), torch.device("meta")  # what Python sees of a device, and what torch's engine sees
aten = torch.ops.aten

# Operations that give numbers to Python or tensors whose shape depends on values, and solvers that check their result: CUDA
# waits for all that was started before.
WAITING = {
    aten._local_scalar_dense,
    aten.is_nonzero,
    aten.equal,
    aten.allclose,
    aten.nonzero,
    aten.masked_select,
    aten.bincount,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten._linalg_check_errors,
    aten.linalg_eig,
    aten._linalg_eigvals,
    aten._linalg_eigh,
    aten._linalg_svd,
    aten.linalg_lstsq,
    aten.linalg_matrix_exp,
}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
COPYING = {aten._to_copy, aten.copy_, aten.copy}
PACKING = {aten._pack_padded_sequence, aten._pad_packed_sequence}  # which take lengths on the CPU
# What the library and torch ask of torch.cuda.
RUNTIME = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "device_count": lambda: 1,
    "get_rng_state": lambda device=0: torch.zeros(16, dtype=torch.uint8),
    "set_rng_state": lambda state, device=0: None,
    "synchronize": lambda device=None: None,
    "empty_cache": lambda: None,
    "current_stream": lambda device=None: None,
    "Stream": lambda device=None: SimpleNamespace(wait_stream=lambda other: None),
    "stream": nullcontext,
    "get_device_name": lambda device=None: "a pretended GPU",
}
# Forms of tensors that torch's engine would have to know about, and what they stand for.
PLAIN = {
    aten._efficientzerotensor: aten.zeros.default,
    aten._conj: aten._conj_physical.default,
    aten._neg_view: aten.neg.default,
}


class PretendedError(RuntimeError):
    """What CUDA would refuse."""


class There(torch.Tensor):
    """A tensor on the GPU, whose numbers are those of `here` on the CPU."""

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), storage_offset=here.storage_offset(), dtype=here.dtype, device=META
        )

    def __init__(self, here):
        self.here = here

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def __repr__(self, *, tensor_contents=None):
        return f"There({self.here})"

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function == torch.Tensor.data.__set__:
            args[0].here = args[1].here
        if function in _NUMBERS:  # which torch's own code refuses for the device that its engine sees
            return _NUMBERS[function](args[0].detach().cpu())
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        with Pretended.current:  # in a backward pass, too
            return function(*args, **kwargs or {})


_NUMBERS = {
    torch.Tensor.tolist: lambda t: t.tolist(),
    torch.Tensor.item: lambda t: t.item(),
    torch.Tensor.__bool__: bool,
    torch.Tensor.__float__: float,
    torch.Tensor.__int__: int,
    torch.Tensor.__index__: int,
}


class _Devices(TorchFunctionMode):
    """Shows torch's engine another device than "cuda", which a build for the CPU does not know."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.device, torch.Tensor.device.__get__, torch.Tensor.__repr__, torch.Tensor.is_cuda.__get__):
            return function(*args, **kwargs or {})
        args, kwargs = tuple(map(_engines, args)), {n: _engines(v) for n, v in (kwargs or {}).items()}
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META:
            del kwargs["device"]
            return function(*args, **kwargs).to(META)  # made on the CPU and copied, as for CUDA
        return function(*args, **kwargs)


def _engines(value):
    is_device = isinstance(value, torch.device) or (isinstance(value, str) and value in ("cuda", "cuda:0"))
    return META if is_device and torch.device(value).type == "cuda" else value


class Pretended(TorchDispatchMode):
    """A context in which there is a GPU; counts where the library waits for it, and what it copies to it.

    Attributes:
        waits: Counter of (file:line of the library, operation).
        copies: the same for copies from the CPU to the GPU.
    """

    current = None

    def __init__(self):
        super().__init__()
        self.waits, self.copies, self.tape = Counter(), Counter(), None
        self._outer, self._depth = ExitStack(), 0
        Pretended.current = self

    def __enter__(self):
        self._depth += 1
        if self._depth == 1:
            pretended = RUNTIME | {"CUDAGraph": Graph}
            self._outer.enter_context(mock.patch.multiple(torch.cuda, **pretended))
            self._outer.enter_context(mock.patch.object(torch.backends.cudnn, "is_acceptable", return_value=False))
            self._outer.enter_context(_Devices())
        return super().__enter__()

    def __exit__(self, *error):
        self._depth -= 1
        if self._depth == 0:
            self._outer.close()
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, function = dict(kwargs or {}), PLAIN.get(function.overloadpacket, function)
        given = _tensors((*args, *kwargs.values()))
        there = [t for t in given if isinstance(t, There)]
        device = kwargs.get("device")
        wanted = bool(there) if device is None else torch.device(device) == META
        if not there and not wanted:
            return function(*args, **kwargs)
        _check(function, given, there, wanted, kwargs)
        self._note(function.overloadpacket, args, kwargs, there, wanted)
        if wanted and device is not None:
            kwargs["device"] = torch.device("cpu")
        own = _each(args, _here), {n: _each(v, _here) for n, v in kwargs.items()}
        result = (function if self.tape is None else self.tape.record(function))(*own[0], **own[1])
        if torch.Tag.inplace_view in function.tags:
            with _below_python():  # the strides that torch's engine sees
                return function(*args, **kwargs)
        return _wrapped(result, function, there, args) if wanted else result

    def _note(self, packet, args, kwargs, there, wanted):
        indices = _tensors(args[1]) if packet in INDEXING else []
        back = packet in WAITING or any(i.dtype == torch.bool for i in indices)
        forth = any(not isinstance(i, There) for i in indices)
        if packet in COPYING:
            source, target = (args[0], wanted) if packet is aten._to_copy else (args[1], isinstance(args[0], There))
            back, forth = isinstance(source, There) and not target, not isinstance(source, There)
        if back or forth:
            self._count(self.waits if back else self.copies, packet._qualified_op_name.removeprefix("aten::"))

    def _count(self, counter, name):
        frame = sys._getframe()
        while frame is not None and not frame.f_code.co_filename.startswith(str(LIBRARY)):
            frame = frame.f_back
        place = "outside" if frame is None else f"{Path(frame.f_code.co_filename).relative_to(LIBRARY)}:{frame.f_lineno}"
        if self.tape is not None:
            raise PretendedError(f"{name} at {place} while a graph is captured")
        counter[place, name] += 1


class Graph:
    """What torch.cuda.CUDAGraph is for: notes operations without an effect, and repeats them on the same memory."""

    def __init__(self):
        self.steps, self.before = [], []

    def capture_begin(self, **options):
        Pretended.current.tape = self

    def capture_end(self):
        Pretended.current.tape = None
        for tensor, values in reversed(self.before):
            tensor.copy_(values)

    def record(self, function):
        def run(*args, **kwargs):
            named = dict(zip((a.name for a in function._schema.arguments), args, strict=False)) | kwargs
            written = [named.get(a.name) for a in function._schema.arguments if a.alias_info and a.alias_info.is_write]
            self.before += [(t, t.clone()) for t in _tensors(written)]
            result = function(*args, **kwargs)
            self.steps.append((function, args, kwargs, result))
            return result

        return run

    def replay(self):
        for function, args, kwargs, result in self.steps:
            again = function(*args, **kwargs)
            for old, new in zip(_tensors([result]), _tensors([again]), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _wrapped(result, function, there, args):
    """The result with its tensors on the GPU; those that were given stay what they are."""
    packet, known = function.overloadpacket, {id(t.here): t for t in there}
    if packet is aten.copy_:
        return args[0]

    def wrap(value):
        if not isinstance(value, torch.Tensor) or (packet in PACKING and value.dtype == torch.int64):
            return value
        return known[id(value)] if id(value) in known else There(value)

    return _each(result, wrap)


def _each(values, function):
    """A function of every value in nested lists and tuples, such as those that operations take and give."""
    if isinstance(values, list | tuple):
        return type(values)([_each(v, function) for v in values])
    return function(values)


def _here(value):
    return value.here if isinstance(value, There) else value


def _tensors(values):
    """The tensors in nested lists and tuples."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


@contextmanager
def _below_python():
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.Python) | torch._C.DispatchKeySet(torch._C.DispatchKey.PythonTLSSnapshot)
    with torch._C._ExcludeDispatchKeyGuard(keys), torch.utils._python_dispatch._disable_current_modes():
        yield


def _check(function, given, there, wanted, kwargs):
    """PretendedError for tensors on two devices, and for a generator of another device."""
    packet = function.overloadpacket
    if wanted and kwargs.get("generator") is not None:
        raise PretendedError(f"{packet}: a generator on the CPU for a tensor on the GPU")
    others = [t for t in given if not isinstance(t, There)]
    if packet in COPYING | PACKING or not others or not there:
        return
    if packet in INDEXING and isinstance(given[0], There) and not any(t.is_floating_point() for t in others):
        return  # CUDA copies indices
    may_mix = isinstance(given[0], There) or not function._schema.is_mutable
    if may_mix and torch.Tag.pointwise in function.tags and all(t.dim() == 0 for t in others):
        return
    devices = [(tuple(t.shape), t.device.type) for t in given]
    raise PretendedError(f"{packet}: tensors on the GPU and on the CPU, {devices}")
