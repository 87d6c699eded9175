"""The Parquet store."""
