"""Conditions that act on the network itself, at three stages of its life."""
