"""Labels from elsewhere: read, and measured on the same footing as the others."""
