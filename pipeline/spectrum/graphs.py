"""Work that is repeated on the same tensors, as one CUDA graph on a GPU, where starting an operation takes longer than it."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

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
        self._function, self._calls = function, 0
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
        graph = torch.cuda.CUDAGraph()
        try:
            # the outer context restores the stream, which a capture that fails does not
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
                self._result = self._function()
        except RuntimeError as error:
            self.captured, self.failure = False, str(error)
        else:
            self.captured, self._graph = True, graph
