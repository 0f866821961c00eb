"""Parts of `unitlens ablate`."""
