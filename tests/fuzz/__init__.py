"""A fuzzer of everything that is read from files of others: ``python -m tests.fuzz --help``, ``make fuzz``."""
