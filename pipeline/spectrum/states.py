"""States of any structure as one flat vector of real numbers, and back."""

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.errors import ModuleError


@dataclass(frozen=True)
class Leaf:
    """One tensor of a state.

    Attributes:
        shape: its shape without the axis of sequences.
        axis: that axis.
        dtype: its dtype.
    """

    shape: tuple[int, ...]
    axis: int
    dtype: torch.dtype

    def without_axis(self, part: Tensor) -> tuple[int, ...] | None:
        """The shape of a tensor without the axis of sequences; None if it has no such axis."""
        shape = tuple(part.shape)
        return (*shape[: self.axis], *shape[self.axis + 1 :]) if len(shape) > self.axis else None

    @property
    def size(self) -> int:
        """Real numbers per sequence: a complex number counts as two."""
        return torch.Size(self.shape).numel() * (2 if self.dtype.is_complex else 1)


@dataclass(frozen=True)
class Structure:
    """How the tensors of a state lie in a flat vector: in their order, each flattened, complex numbers as pairs of reals.

    Attributes:
        like: a state with this structure; nested tuples, lists, mappings and dataclasses.
        leaves: what the flat vector holds, in the order of `like`; None for a part that is no float or complex tensor and
            therefore does not change.
    """

    like: Any
    leaves: tuple[Leaf | None, ...]

    @classmethod
    def of(cls, state: Any, sequences: int, axis: int) -> "Structure":
        """The structure of a state of B sequences, which lie on the given axis, or on the other one where that does not fit.

        Raises:
            ModuleError: neither the first nor the second axis of a tensor has the size B, or there is no tensor.
        """
        leaves: list[Leaf | None] = []
        for part in flatten(state, state):
            if not is_phase(part):
                leaves.append(None)
                continue
            shape = tuple(part.shape)
            found = [a for a in (axis, 1 - axis) if len(shape) > 2 * a and shape[a] == sequences]  # (B, ...), (layers, B, H)
            if not found:
                raise ModuleError(
                    f"each tensor of the state should have an axis of the {sequences} sequences, (B, ...) or (layers, B, ...), "
                    f"found a shape of {shape}"
                )
            place = found[0]
            leaves.append(Leaf((*shape[:place], *shape[place + 1 :]), place, part.dtype))
        if not sum(leaf.size for leaf in leaves if leaf):
            raise ModuleError(f"state should be a float or complex tensor, or a structure of such, found {_kind(state)}")
        return cls(state, tuple(leaves))

    @property
    def size(self) -> int:
        """S, the length of the flat vector."""
        return sum(leaf.size for leaf in self.leaves if leaf)

    def flat(self, state: Any) -> Tensor:
        """The flat vectors (B, S) of a state of this structure; its constant parts are left out.

        Raises:
            ModuleError: the structure, a shape or a dtype is another one, or a constant part has changed.
        """
        parts = []
        given, own = flatten(state, self.like), flatten(self.like, self.like)
        for part, leaf, constant in zip(given, self.leaves, own, strict=True):
            if leaf is None:
                _check_constant(part, constant)
            else:
                parts.append(self._vector(part, leaf))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def _vector(self, part: Any, leaf: Leaf) -> Tensor:
        """One tensor of a state as (B, size)."""
        if not isinstance(part, Tensor):
            raise ModuleError(f"a part of the new state is {_kind(part)} where the state has a tensor")
        shape = tuple(part.shape)
        if leaf.without_axis(part) != leaf.shape:
            expected = (*leaf.shape[: leaf.axis], "B", *leaf.shape[leaf.axis :])
            raise ModuleError(f"the step should keep the state's shape {_shape(expected)}, found {shape}")
        if part.dtype != leaf.dtype:
            raise ModuleError(
                f"the state comes back in {part.dtype} instead of {leaf.dtype}: keep its dtype inside the step "
                "(no casts, dtype=state.dtype for new tensors)"
            )
        part = part.movedim(leaf.axis, 0)
        part = torch.view_as_real(part.resolve_conj()) if part.is_complex() else part
        return part.reshape(len(part), leaf.size)

    def state(self, flat: Tensor) -> Any:
        """The state of flat vectors (B, S), for any number B."""
        parts, begin = [], 0
        for leaf, constant in zip(self.leaves, flatten(self.like, self.like), strict=True):
            if leaf is None:
                parts.append(constant)
                continue
            part = flat[:, begin : begin + leaf.size]
            begin += leaf.size
            if leaf.dtype.is_complex:
                part = torch.view_as_complex(part.reshape(len(flat), leaf.size // 2, 2).clone())
            # always a copy, contiguous as torch's modules expect it, because a model may work in place
            parts.append(part.reshape(len(flat), *leaf.shape).movedim(0, leaf.axis).clone(memory_format=torch.contiguous_format))
        return rebuild(self.like, iter(parts))

    def fits(self, state: Any) -> bool:
        """Whether a state has this structure and these shapes, whatever its dtype and its number of sequences."""
        try:
            parts = flatten(state, self.like)
        except ModuleError:
            return False
        pairs = zip(parts, self.leaves, strict=True)
        return all(leaf is None or (isinstance(p, Tensor) and leaf.without_axis(p) == leaf.shape) for p, leaf in pairs)


def is_phase(part: Any) -> bool:
    """Whether a part of a state has derivatives: a float or complex tensor."""
    return isinstance(part, Tensor) and (part.is_floating_point() or part.is_complex())


def flatten(tree: Any, like: Any) -> list[Any]:
    """The parts of a nested structure, in the order of another of the same structure; lists and tuples are alike.

    Raises:
        ModuleError: the structures differ.
    """
    if isinstance(like, Mapping):
        if not isinstance(tree, Mapping) or set(tree) != set(like):
            raise ModuleError(f"the state should keep its structure, a mapping of {list(like)}, found {_kind(tree)}")
        return [part for name in like for part in flatten(tree[name], like[name])]
    if isinstance(like, list | tuple):
        if not isinstance(tree, list | tuple) or len(tree) != len(like):
            raise ModuleError(f"the state should keep its structure, {_kind(like)}, found {_kind(tree)}")
        return [part for branch, own in zip(tree, like, strict=True) for part in flatten(branch, own)]
    if dataclasses.is_dataclass(like) and not isinstance(like, type):
        if type(tree) is not type(like):
            raise ModuleError(f"the state should keep its structure, a {type(like).__name__}, found {_kind(tree)}")
        names = [field.name for field in dataclasses.fields(like)]
        return [part for name in names for part in flatten(getattr(tree, name), getattr(like, name))]
    return [tree]


def rebuild(like: Any, parts: Any) -> Any:
    """A structure like the given one with other parts, taken in order from an iterator."""
    if isinstance(like, Mapping):
        filled: Any = copy.copy(like)
        for name, branch in like.items():
            filled[name] = rebuild(branch, parts)
        return filled
    if isinstance(like, list | tuple):
        branches = [rebuild(branch, parts) for branch in like]
        return type(like)(*branches) if hasattr(like, "_fields") else type(like)(branches)
    if dataclasses.is_dataclass(like) and not isinstance(like, type):
        filled = copy.copy(like)
        for field in dataclasses.fields(like):
            object.__setattr__(filled, field.name, rebuild(getattr(like, field.name), parts))
        return filled
    return next(parts)


def converted(state: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """A copy of a state on a device, float tensors in the given dtype and complex ones in the complex dtype of its precision."""

    def convert(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return part
        part = part.detach().to(device=device, dtype=like(part.dtype, dtype))
        return part.clone() if part.is_inference() else part

    return rebuild(state, iter([convert(part) for part in flatten(state, state)]))


def like(own: torch.dtype, dtype: torch.dtype) -> torch.dtype:
    """The dtype that a tensor of dtype `own` gets in a computation in `dtype`: whole numbers stay whole, complex ones complex."""
    if own.is_complex:
        return dtype.to_complex()
    return dtype if own.is_floating_point else own


def _check_constant(part: Any, constant: Any) -> None:
    """ModuleError if a part of the state without derivatives has changed."""
    if isinstance(constant, Tensor):
        same = isinstance(part, Tensor) and part.shape == constant.shape and bool((part == constant).all())
    else:
        same = part is constant or (isinstance(constant, int | float | str | bool) and part == constant)
    if not same:
        raise ModuleError(
            f"the state holds {_kind(constant)} that a step changes; all that changes should be float or complex tensors"
        )


def _kind(part: Any) -> str:
    """A part of a state in words."""
    if isinstance(part, Tensor):
        return f"a tensor {tuple(part.shape)} of {part.dtype}"
    if isinstance(part, Mapping):
        return f"a mapping of {list(part)}"
    if isinstance(part, list | tuple):
        return f"a {type(part).__name__} of {len(part)}"
    return "nothing" if part is None else f"{type(part).__name__}"


def _shape(sizes: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
