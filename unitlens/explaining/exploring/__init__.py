"""Explore a classifier image by image: what it says, why, and what it says with units switched by hand."""
