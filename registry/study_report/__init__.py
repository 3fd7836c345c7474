"""Reports of studies of arms, made of their results alone: tables, charts, pages, and a dashboard in MLflow.

Imports matplotlib and MLflow, only in functions.
"""
