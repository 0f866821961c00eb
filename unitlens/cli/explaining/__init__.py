"""Commands that explain: what is measured of images in pairs."""
