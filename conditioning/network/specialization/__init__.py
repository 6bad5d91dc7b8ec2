"""Specialization fits the network, or an embedding, to the few images of one condition, just before sampling.

A method reads what such a training left, a file of changes to the network's layers, and adds the keys of `cond` by
which an ask has them.
"""
