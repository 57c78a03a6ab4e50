"""What the tests of spectra draw: numbers and modules in float64, each from a generator of its own."""

import torch


def exact(*values):
    return torch.tensor(values, dtype=torch.float64)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=2):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def module_of(kind, *sizes, scale=None, seed=3, **options):
    """A float64 module with weights uniform(-scale, scale)."""
    module = kind(*sizes, **options).double()
    scale = module.hidden_size**-0.5 if scale is None else scale
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-scale, scale, generator=generator)
    return module
