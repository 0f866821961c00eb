"""Subgroups of images: where a network is worst, and whose removal helps there."""
