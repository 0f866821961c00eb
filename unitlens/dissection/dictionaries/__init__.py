"""Dictionaries of a layer's own activations: fitted on the images of a run."""
