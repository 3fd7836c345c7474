"""Packing of clips of videos: which clips are taken, worker processes with a deadline, and shards of clips.

Imports `builders.data`, `builders.video`, `builders.files`, `builders.child_processes`.
"""
