"""The tables of a saved run, for other programs."""
