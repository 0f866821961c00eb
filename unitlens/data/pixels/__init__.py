"""Pixels of any number of bands and depth: out of files and arrays, and as a network takes them."""
