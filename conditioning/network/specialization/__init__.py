"""Specialization fits the network, or an embedding, to the few images of one condition, just before sampling.

A method is a trainer: backbone -> flow that returns weights or embeddings.
"""
