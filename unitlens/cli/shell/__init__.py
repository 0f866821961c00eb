"""What all commands have in common: help in sections, options from a file, completion, tables that fit."""
