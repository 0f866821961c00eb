"""What ablating the units that fit a concept best does in images that contain it."""
