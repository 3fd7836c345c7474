"""Indexes of shards: tables of their samples, cached on disk and mapped into memory by all processes.

Imports `builders.data.shard_index`, `builders.data.classes`, `builders.data.splits`.
"""
