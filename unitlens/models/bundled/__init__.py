"""The networks that come along, with their weights: they know, draw and label scenes of the drawn world."""
