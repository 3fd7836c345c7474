"""Sharded training: weights, gradients, averages and optimizer state divided among the processes (FSDP2).

Imports `builders.checkpoints`, `builders.files`, `builders.networks`, and `builders.training.errors`.
"""
