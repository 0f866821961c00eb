"""What is measured of the layers of a run, and kept beside its dissection."""
