"""Compute what lies in front of a layer once, and replay what lies behind it for any number of interventions."""
