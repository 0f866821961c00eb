"""Words for units by an encoder of images and words, in place of masks."""
