"""Tables that list images: CSV, TSV, JSON, JSON Lines and parquet files, and their columns.

Imports `builders.data.errors`; pyarrow is imported when a parquet file is read.
"""
