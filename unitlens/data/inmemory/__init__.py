"""Data sets that people have in memory, or classes of their own for: read as annotated images."""
