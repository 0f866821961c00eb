"""Commands of dictionaries of features: to fit one, and to measure what one holds."""
