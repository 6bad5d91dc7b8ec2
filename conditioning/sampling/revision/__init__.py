"""Revising the diffusion process changes the process: it starts, ends or moves elsewhere, for the condition's sake.

A method is sampler -> sampler: it replaces the sampler, or calls it in other coordinates.
"""
