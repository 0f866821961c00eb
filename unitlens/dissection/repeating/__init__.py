"""A run that is there already: repeated and compared, or found again for the same question."""
