"""Record tests/golden/report/RELEASE from a real run; `--force` replaces what is there.

Goldens stay readable for ever: make a new folder for a new release rather than replace one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from hostile_data import RECORDS, train, write_rows

TARGET = Path(__file__).resolve().parent.parent / "golden" / "report" / metadata.version("aragora")


def main() -> None:
    """Train on the hostile rows and copy the run's records; needs the repository on the path."""
    if TARGET.exists() and "--force" not in sys.argv:
        raise SystemExit(f"{TARGET} exists; give --force to replace it")
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        home = Path(folder)
        os.environ["TENSAFE_HOME"] = str(home / "tensafe")
        os.environ["TINKER_ENGINE_HOME"] = str(home / "engine")
        os.environ["TENSAFE_KEY_PASSPHRASE"] = "a passphrase for tests"
        write_rows(home / "data")
        code = train(home / "data", home / "run", "--name", "hostile-rows")
        if code != 3:
            raise SystemExit(f"exit code {code}, expected 3")
        shutil.rmtree(TARGET, ignore_errors=True)
        for record in RECORDS:
            (TARGET / record).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(home / "run" / record, TARGET / record)


if __name__ == "__main__":
    main()
