"""The cards of units, and the sections of concepts."""
