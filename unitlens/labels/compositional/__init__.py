"""Formulas of concepts as labels, of a unit's mask and of ranges of its activation."""
