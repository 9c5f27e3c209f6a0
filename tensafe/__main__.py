"""`python -m tensafe` is the `tensafe` command."""

from __future__ import annotations

from tensafe.cli import main

if __name__ == "__main__":
    main()
