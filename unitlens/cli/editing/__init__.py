"""Commands about what generators draw."""
