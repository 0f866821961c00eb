"""Readers: data sets on disk in the formats that people have, each as annotated images."""
