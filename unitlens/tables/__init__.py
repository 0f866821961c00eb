"""Tables of results for other programs: labelled frames and arrays, LaTeX."""
