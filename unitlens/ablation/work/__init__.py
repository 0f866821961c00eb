"""Measurements that are stopped and go on, or are made in parts: what they are of, where they are kept."""
