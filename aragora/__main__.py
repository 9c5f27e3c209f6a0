"""`python -m aragora` is the `aragora` command."""

from __future__ import annotations

from aragora.cli import main

if __name__ == "__main__":
    main()
