"""What one pass over the images leaves on disk: activations and label planes, in named files."""
