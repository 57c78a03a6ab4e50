"""Work that is repeated on the same tensors, as one CUDA graph on a GPU, where starting an operation takes longer than it."""

import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")
_capturing = threading.Lock()  # one function at a time, on the one stream that all share: torch keeps memory for each stream


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which a device's functions are captured."""
    return torch.cuda.Stream(device)


class Repeated(Generic[Result]):
    """A function of tensors that stay in their places, for many calls.

    The function must wait for nothing and read no number of a tensor. The first call on a GPU runs it, the second captures it,
    and from then on all its operations are started at once; their results lie where those of the second call lay. Elsewhere,
    and on a GPU if it cannot be captured, it runs at every call.

    Attributes:
        captured: whether calls repeat a graph; None before it is known.
        failure: why the function could not be captured.
    """

    def __init__(self, function: Callable[[], Result], device: torch.device, *, large: bool = False) -> None:
        """Repeat a function.

        Args:
            function: what to repeat.
            device: where its tensors are.
            large: whether it needs much memory, of which a graph has its own: what torch keeps of the first call is given back.
        """
        self._function, self._device, self._large, self._calls = function, device, large, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self.captured: bool | None = None if device.type == "cuda" else False
        self.failure = ""

    def __call__(self) -> Result:
        """What the function gives."""
        self._calls += 1
        if self.captured is None and self._calls > 1:
            self._capture()
        if self._graph is None:
            return self._function()
        self._graph.replay()
        return self._result

    def _capture(self) -> None:
        # torch.cuda.graph would always give back all memory that is free, which then takes long to get again, and other threads
        # could not get any while it captures
        graph, stream, before = torch.cuda.CUDAGraph(), _stream(self._device), torch.cuda.current_stream(self._device)
        try:
            with _capturing, torch.cuda.stream(stream):
                stream.wait_stream(before)
                if self._large:
                    torch.cuda.empty_cache()
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    self._result = self._function()
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            self.captured, self.failure = False, str(error)
        else:
            self.captured, self._graph = True, graph


class Replayed(Generic[Result]):
    """A function of tensors that are elsewhere at each call, of the same shapes; on a GPU `Repeated`, on copies of them.

    Its results, a tensor or a tuple of tensors, are new ones. If it `writes` to what it is given, that is copied back.
    """

    def __init__(self, function: Callable[..., Result], *, writes: bool = False) -> None:
        self._function, self._writes = function, writes
        self._places: list[Tensor] = []

    def __call__(self, *tensors: Tensor) -> Result:
        """What the function gives."""
        if tensors[0].device.type != "cuda":
            return self._function(*tensors)
        if not self._places:
            self._places = [torch.empty_like(tensor) for tensor in tensors]
            self._run = Repeated(partial(self._function, *self._places), tensors[0].device)
        for place, tensor in zip(self._places, tensors, strict=True):
            place.copy_(tensor)
        result: Any = self._run()
        found: Any = result.clone() if isinstance(result, Tensor) else tuple(value.clone() for value in result)
        for place, tensor in zip(self._places, tensors if self._writes else (), strict=self._writes):
            tensor.copy_(place)
        return found
