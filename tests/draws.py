"""Random tensors and modules for the tests, each from a generator of its own; float64 unless stated."""

import torch


def exact(*values):
    """A float64 tensor of the given values."""
    return torch.tensor(values, dtype=torch.float64)


def seeded(seed=1):
    """A new generator with the given seed."""
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=2):
    """Standard normal numbers, the same for the same seed and shape."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def module_of(kind, *sizes, scale=None, seed=3, **options):
    """A float64 module with weights from uniform(-scale, scale); the scale defaults to torch's hidden_size ** -0.5."""
    module = kind(*sizes, **options).double()
    scale = module.hidden_size**-0.5 if scale is None else scale
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-scale, scale, generator=generator)
    return module
