"""A drawn world of scenes, with the truth known at every pixel."""
