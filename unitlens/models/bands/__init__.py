"""Bands of images: which of them a network takes, what their numbers mean, and how they are shown."""
