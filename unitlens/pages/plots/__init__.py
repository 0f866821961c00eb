"""The figures of a saved run, as files for a paper."""
