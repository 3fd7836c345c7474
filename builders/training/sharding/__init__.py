"""Sharded training: weights, gradients, averages and optimizer state divided among the processes (FSDP2).

Imports `builders.training.errors`, `builders.training.batches`, and the rooms of `builders` below training.
"""
