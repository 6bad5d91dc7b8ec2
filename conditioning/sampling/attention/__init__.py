"""Attention manipulation changes what the network looks at: maps or features of its attention layers are replaced.

A method passes an `edit` that lives for one ask: D -> D, or sampler -> sampler where the attention is another
image's, which is denoised beside it (lockstep.py), or where what is looked at moves the state before a
step (maps.py).
"""
