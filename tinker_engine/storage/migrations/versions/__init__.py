"""One module per revision, applied in order of their numbers."""
