"""Draws, in which images are given the labels of others: whose they are, and among which kinds of images."""
