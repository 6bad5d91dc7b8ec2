"""Attention manipulation changes what the network looks at: maps or features of its attention layers are replaced.

A method is D -> D, the innermost of all: it passes an `edit` that lives for one ask.
"""
