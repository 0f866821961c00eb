"""What the units of a layer are: its channels, directions in their space, or the heads of its attention."""
