"""Power function averages of the weights, and averages of other lengths made of them after training.

Imports `builders.training.ema`, `builders.training.reading`, `builders.training.settings`,
`builders.training.validation`, and the rooms of `builders` below training.
"""
