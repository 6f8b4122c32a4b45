"""The store: records, artifacts, files written whole or not at all."""
