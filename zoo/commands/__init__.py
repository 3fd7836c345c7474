"""The command line, one command per file. Slow imports are inside the commands.

Imports everything below; nothing imports it but `zoo.cli`.
"""
