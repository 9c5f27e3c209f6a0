"""A package of 1 GiB, and what verifying it costs: time against one SHA-256 pass, and memory.

Both passes read the same file from the page cache, in turns, in one process; CPU seconds are
compared, because the machine may be busy with other work. Memory is the highest resident size
while verifying, over what was resident before: mapped pages of the file count until the reader
drops them, so this is more than what lies beside the page cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from evidence._gate_packages import signed
from tensafe.tgsp import KeyPair
from tensafe.tgsp.canonical import canonical_json
from tensafe.tgsp.reader import MAGIC, split_package
from tensafe.tgsp.trust import NOBODY
from tensafe.tgsp.verification import verify_package

GIB = 1 << 30
TURNS = 7
MOST_RATIO, MOST_BYTES = 1.25, 100_000_000
_CHUNK = 1 << 24


def large_package(path: Path, like: bytes, signer: KeyPair, *, size: int = GIB) -> Path:
    """A package of at least `size` bytes with the manifest of a smaller one, signed anew."""
    payload = path.with_suffix(".safetensors")
    digest = _write_payload(payload, size)
    raw: dict[str, Any] = json.loads(split_package(like).manifest_bytes)
    raw["integrity"]["payload_hash"] = digest
    manifest = canonical_json(signed(raw, signer))
    with path.open("wb") as package, payload.open("rb") as data:
        package.write(MAGIC + len(manifest).to_bytes(4, "little") + manifest)
        shutil.copyfileobj(data, package, _CHUNK)
    payload.unlink()
    return path


def _write_payload(path: Path, size: int) -> str:
    """Safetensors of two F32 tensors with random bytes; gives the hex SHA-256."""
    columns = size // 8192
    half = columns * 4096
    header = json.dumps(
        {
            f"base_model.model.layer.lora_{side}.weight": {
                "dtype": "F32",
                "shape": shape,
                "data_offsets": [place * half, (place + 1) * half],
            }
            for place, (side, shape) in enumerate((("A", [1024, columns]), ("B", [columns, 1024])))
        },
        separators=(",", ":"),
    ).encode()
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in (len(header).to_bytes(8, "little") + header, *_random(2 * half)):
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def _random(left: int) -> Any:
    while left:
        part = min(left, _CHUNK)
        yield os.urandom(part)
        left -= part


def measure(path: Path) -> dict[str, float]:
    """Measure in a process of its own; gives medians in seconds, their ratio, and bytes."""
    command = [sys.executable, "-m", "evidence._large_package", str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def holds(figures: dict[str, float]) -> bool:
    """Whether the promise is kept."""
    return figures["ratio"] <= MOST_RATIO and figures["extra_bytes"] < MOST_BYTES


def main(path: Path) -> None:
    """Print the figures as JSON."""

    def hash_file() -> None:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    def verify() -> None:
        result = verify_package(path, NOBODY)
        assert result.verdict == "untrusted", result.why

    hash_file()
    verify()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    verify()
    extra = _status("VmHWM") - before
    hashing: list[float] = []
    verifying: list[float] = []
    for _ in range(TURNS):
        hashing.append(_cpu(hash_file))
        verifying.append(_cpu(verify))
    one, all_of_it = median(hashing), median(verifying)
    print(
        json.dumps(
            {
                "package_bytes": path.stat().st_size,
                "sha256_cpu_s": round(one, 3),
                "verify_cpu_s": round(all_of_it, 3),
                "ratio": round(all_of_it / one, 3),
                "extra_bytes": extra,
            }
        )
    )


def _cpu(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _status(field: str) -> int:
    """A line of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(field)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
