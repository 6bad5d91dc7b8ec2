"""Re-purposing teaches a trained network a new condition: adapters beside it, or fine-tuning on pairs.

A method is backbone -> backbone: the result reads more keys of `cond`.
"""
