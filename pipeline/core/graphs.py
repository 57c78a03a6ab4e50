"""Work that is repeated on the same tensors, as one CUDA graph on a GPU, where starting an operation takes longer than it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class Repeated(Generic[Result]):
    """A function of tensors that stay in their places, for many calls.

    The function must wait for nothing and read no number of a tensor. The first call on a GPU runs it, the second captures it,
    and from then on all its operations are started at once; their results lie where those of the second call lay. Elsewhere,
    and on a GPU if it cannot be captured, it runs at every call.

    Attributes:
        captured: whether calls repeat a graph; None before it is known.
        failure: why the function could not be captured.
    """

    def __init__(self, function: Callable[[], Result], device: torch.device) -> None:
        self._function, self._device, self._calls = function, device, 0
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
        # torch.cuda.graph would also give back all memory that is free, which then takes long to get again, and other threads
        # could not get any while it captures
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        try:
            with torch.cuda.stream(stream):
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
