"""A local page in the browser, on which a person paints with units and switches them off."""
