"""Which images show a unit, and how they are drawn."""
