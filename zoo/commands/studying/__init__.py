"""``zoo study`` for studies of arms: plans, registration, runs, reports.

Imports `zoo.early`; slow imports are inside the functions.
"""
