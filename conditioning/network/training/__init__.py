"""Training makes the network conditional from the start: it reads the condition as further keys of `cond`."""
