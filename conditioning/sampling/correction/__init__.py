"""Conditional correction changes the state: after a step, what the condition fixes is put right.

A method is sampler -> sampler through `on_step`.
"""
