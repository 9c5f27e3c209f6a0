"""One script per claim: `make evidence NAME=x` runs `evidence/x.py` and ends in a line of JSON."""
