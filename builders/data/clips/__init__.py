"""Clips in datasets: what is stored of them, which of their frames are taken, and tensors of them.

Imports `builders.data.errors`, `builders.data.shards`, `builders.video`.
"""
