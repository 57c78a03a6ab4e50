"""What the measurements share: their interface, the network and data that they look at, and the lags of a task."""
