"""Data: files and archives, decoded images, memory maps read within bounds."""
