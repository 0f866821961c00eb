"""Units found by words and by images."""
