"""A folder of the user's own images, described by a metadata.csv."""
