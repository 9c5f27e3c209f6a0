"""Make the golden packages anew: `python tests/tgsp/make_golden.py --overwrite`.

Goldens are packages of released versions and have to verify for ever, so this writes only files
that don't exist yet unless it is told to overwrite; overwriting one needs a line in CHANGELOG.md.
The signing key is a test key that anyone can derive, and signs nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rewriting import foreign
from sample_package import adapter, gates, key_pair, metadata

from tensafe.tgsp import write_package
from tensafe.tgsp.keys import public_key_document

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "tgsp"


def main() -> None:
    """Write what is missing, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overwrite", action="store_true")
    overwrite = parser.parse_args().overwrite
    for name, data in golden_files().items():
        if overwrite or not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(data)
            print("wrote", name, len(data), "bytes")


def golden_files() -> dict[str, bytes]:
    """Every golden file of the present version by name."""
    signer = key_pair()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tgsp"
        write_package(path, payload=adapter(), metadata=metadata(), gates=gates(), signer=signer)
        private = path.read_bytes()
        write_package(
            path,
            payload=adapter(),
            metadata=metadata(private=False),
            gates=gates(private=False),
            signer=signer,
        )
        public = path.read_bytes()
    return {
        "creator-0.1.0.json": public_key_document(signer),
        "private-0.1.0.tgsp": private,
        "not-private-0.1.0.tgsp": public,
        "reference-writer-form.tgsp": foreign(private, signer),
    }


if __name__ == "__main__":
    main()
