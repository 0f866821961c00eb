"""Paint into generated images by hand: scenes, the concepts to paint with, and recipes of what was painted."""
