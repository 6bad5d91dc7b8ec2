"""How faithful a picture is to what it was told: the measures that the page shows and the benches share.

distances     how far two pictures, two maps of edges, two boxes are apart
measures      MEASURES[key], each with name, unit, direction and range: one number for a picture and what it was `Told`
trust         what every measure gives for renders of the very scene and of another one: `python -m fidelity.trust`

The world's judges are networks trained on renders; what reads a picture here never steers one.
"""
