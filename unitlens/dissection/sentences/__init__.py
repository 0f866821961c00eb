"""Sentences about a dissection: what its detectors were compared with, and how it was made."""
