"""How a device computes training steps: when their numbers are read, in which precision, and how long they take.

Imports `builders.precision`, `builders.checkpoints`, `builders.files`, `builders.training.settings`,
`builders.training.observers` and `specs`.
"""
