"""Segmenters: networks that mark concepts in images."""
