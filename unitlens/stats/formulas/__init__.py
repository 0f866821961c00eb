"""Logical formulas over concepts: how they read, how often they meet a mask, and the best one of a length."""
