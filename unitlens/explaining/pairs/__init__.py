"""Images in pairs: which units change from the one to the other, attacks, and minimal pairs of drawn scenes."""
