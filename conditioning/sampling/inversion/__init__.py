"""Inversion changes the start: the image to edit is carried to a noise level, and sampling begins there.

A method is sampler -> sampler, the outermost of all: it finds the start (and what else reconstructs the image, as
tables by sigma), then calls the sampler that it wraps.
"""
