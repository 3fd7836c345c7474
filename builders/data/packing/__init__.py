"""Packing of images from folders, CSV and JSONL files, and shards, into new shards.

Imports `builders.data`, `builders.files`.
"""
