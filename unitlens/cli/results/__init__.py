"""Commands that need a saved run alone, neither its network nor its images."""
