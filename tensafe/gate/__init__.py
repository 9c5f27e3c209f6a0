"""Gates: nothing is packaged or made live without their verdicts."""
