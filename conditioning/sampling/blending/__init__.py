"""Noise blending changes the denoised prediction: several predictions at one level are put together into one.

A method is D -> D: it asks for its predictions with `together`, which makes one network evaluation of them.
"""
