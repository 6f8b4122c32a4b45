"""Plugins: finding, loading and guarding them; hooks; new packages."""
