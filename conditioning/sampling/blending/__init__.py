"""Noise blending changes the estimate: several predictions at one level are put together into one.

A method is D -> D: it asks for its predictions with `together`, which makes one network call of them.
"""
