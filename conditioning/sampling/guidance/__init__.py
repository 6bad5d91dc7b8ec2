"""Guidance changes the direction: the prediction is pushed along the gradient of a condition, or along a difference.

A method is D -> D, or sampler -> sampler where its paper moves the state and not the denoised prediction. Gradients run
through asks that carry a `tape`."""
