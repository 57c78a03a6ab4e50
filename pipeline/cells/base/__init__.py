"""Code that the cells share: the interface, stacks of layers, option checks and helpers of several cells."""
