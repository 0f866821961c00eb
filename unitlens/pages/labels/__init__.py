"""What pages show of labels: methods side by side, and sheets that people answer."""
