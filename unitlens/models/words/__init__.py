"""Encoders of images and words into one space: what CLIP and its like are."""
