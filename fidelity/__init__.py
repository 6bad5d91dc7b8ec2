"""How faithful an image is to its conditions: the measures that the page shows and the benches share.

distances     PSNR, SSIM, IoU, F1 of edges, ...: how far two images, two edge maps, two boxes are apart
measures      MEASURES[key], each with title, unit, direction and range: its value for an image and a `Target`
target        `Target`, and what perception models read of an image
trust         the value of every measure for renders of the target scene and of another one: `python -m fidelity.trust`

The evaluators of the world are networks trained on renders; no network that evaluates an image here guides one.
"""
