"""Skills: what agents can be told to do with TenSafe."""
