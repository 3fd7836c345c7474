"""Studies of arms: what is run, claims of processes that share the work, and one small file of results per run.

Imports no torch until something is trained or measured.
"""
