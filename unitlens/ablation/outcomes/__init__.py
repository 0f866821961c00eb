"""Outcomes: what is measured of a network's outputs, a number for each image; of classes, and of anything else."""
