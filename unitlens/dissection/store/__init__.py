"""What one pass over the images leaves on disk: activations and label planes, in named files with a manifest.

`folder` has the store itself, which knows rows, lines and documents and nothing of networks; `layers`, `labels` and
`passes` say what a pass puts into it.
"""
