"""Conditions that act on the sampling process of a network as it is, in six mechanisms."""
