"""A package notices every changed byte and every forged signature: `verify` exits 4.

On a small package, each of these has to be refused: every single-bit change and one random other
value at every position of header and manifest; 2,000 random changes of the payload; truncation;
extension; swapped signatures; a stub Dilithium signature; a wrong key; duplicate JSON keys; and a
declared length of 4 GiB, without allocating it. The bulk calls the verification that the command
calls; a sample and every named case go through `tensafe verify` itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evidence import _tampering as tampering
from evidence._report import conclude
from tensafe.tgsp import KeyStore, TrustStore, load_trust, trust_path, verify
from tensafe.tgsp.reader import PackageFormatError, split_package
from tensafe.tgsp.trust import NOBODY

REFUSED = 4
PAYLOAD_CHANGES = 2_000
SAMPLE = 24
# The command's own entry point, then its peak memory. A parent can't read it: the ru_maxrss of a
# child starts at what its parent had when it forked.
COMMAND = """
import sys
from tensafe.cli import main
try:
    main(sys.argv[1:])
finally:
    lines = open("/proc/self/status").read().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM:")), file=sys.stderr)
"""
# Beside what verifying the untouched package takes, mostly the interpreter itself: a declared
# length costs nothing, and a real manifest of up to 16 MiB is mapped and copied once.
DECLARED_EXTRA_MB = 4.0
ALLOWED_EXTRA_MB = 40.0


@dataclass(frozen=True)
class Ended:
    """How one run of the command ended."""

    exit_code: int
    verdict: str
    reason: str
    peak_mb: float


def is_refused(data: bytes, trust: TrustStore) -> bool:
    """What `tensafe verify` decides on, without the process around it."""
    try:
        return not verify(split_package(data), trust).is_accepted(trusted=False)
    except PackageFormatError:
        return True


def tensafe_verify(path: Path, environ: dict[str, str], *options: str) -> Ended:
    """The real command on a file; peak memory is the whole process's, in MiB."""
    command = [sys.executable, "-c", COMMAND, "verify", str(path), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    result = json.loads(done.stdout) if done.stdout else {"verdict": "", "reason": done.stderr}
    peak_kb = int(done.stderr.rsplit("VmHWM:", 1)[1].split()[0])
    return Ended(done.returncode, result["verdict"], result["reason"], round(peak_kb / 1024, 1))


def changed_bytes(data: bytes, places: range, generator: random.Random) -> Iterator[bytes]:
    """Every single-bit change and one other random value at each place."""
    changed = bytearray(data)
    for place in places:
        original = data[place]
        others = {original ^ (1 << bit) for bit in range(8)}
        while len(others) < 9:
            others.add(generator.randrange(256))
            others.discard(original)
        for value in others:
            changed[place] = value
            yield bytes(changed)
        changed[place] = original


def payload_changes(data: bytes, start: int, generator: random.Random) -> list[bytes]:
    """The package with one random byte of its payload set to another value, many times."""
    made: list[bytes] = []
    for place in generator.sample(range(start, len(data)), PAYLOAD_CHANGES):
        changed = bytearray(data)
        changed[place] ^= generator.randrange(1, 256)
        made.append(bytes(changed))
    return made


def count_accepted(packages: Iterator[bytes] | list[bytes], trust: TrustStore) -> tuple[int, int]:
    """How many there were, and how many of them were wrongly accepted."""
    total = accepted = 0
    for data in packages:
        total += 1
        accepted += not is_refused(data, trust)
    return total, accepted


def main() -> None:
    """Make the package, change it in every way, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    seed: int = parser.parse_args().seed
    generator = random.Random(seed)
    print(f"seed {seed} (give --seed {seed} for the same random changes)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = {
            **os.environ,
            "TENSAFE_HOME": str(folder / "home"),
            "TENSAFE_KEY_PASSPHRASE": secrets.token_urlsafe(24),
        }
        signer = tampering.new_signer(KeyStore(folder / "home"), environ["TENSAFE_KEY_PASSPHRASE"])
        data = tampering.small_package(folder, signer)
        trust = load_trust(trust_path(folder / "home"))
        figures, bulk_holds = bulk(data, trust, generator)
        named, named_holds = commands(folder, data, signer, environ, generator)
    conclude("tamper", {"seed": seed, **figures, **named}, holds=bulk_holds and named_holds)


def bulk(
    data: bytes, trust: TrustStore, generator: random.Random
) -> tuple[dict[str, object], bool]:
    """Changed bytes, truncations and extensions, against a store that trusts the signer."""
    if is_refused(data, trust) or is_refused(data, NOBODY):
        raise SystemExit("the untouched package is refused: nothing can be shown with it")
    start = len(data) - len(split_package(data).payload)
    started = time.monotonic()
    head, head_accepted = count_accepted(changed_bytes(data, range(start), generator), trust)
    payloads = payload_changes(data, start, generator)
    payload, payload_accepted = count_accepted(payloads, trust)
    # Without the signer in the store, verification depends on the keys inside the package.
    places = changed_bytes(data, range(start), generator)
    every_fifth = (changed for number, changed in enumerate(places) if number % 5 == 0)
    unknown, unknown_accepted = count_accepted(every_fifth, NOBODY)
    cut, cut_accepted = count_accepted((data[:size] for size in range(len(data))), trust)
    longer = [data + more for more in (b"\0", b"\n", b"{}", data, bytes(4096))]
    extended, extended_accepted = count_accepted(longer, trust)
    print(f"package of {len(data)} bytes, header and manifest {start}; sha256 {digest(data)}")
    print(f"header and manifest: {head} changes at {start} places, {head_accepted} accepted")
    print(f"the same without the signer in the store: {unknown}, {unknown_accepted} accepted")
    print(f"payload: {payload} changes, {payload_accepted} accepted")
    print(f"truncated to every length: {cut}, {cut_accepted} accepted")
    print(f"extended: {extended}, {extended_accepted} accepted")
    accepted = (
        head_accepted + unknown_accepted + payload_accepted + cut_accepted + extended_accepted
    )
    figures: dict[str, object] = {
        "package_bytes": len(data),
        "header_and_manifest_bytes": start,
        "header_and_manifest_changes": head + unknown,
        "payload_changes": payload,
        "truncations": cut,
        "extensions": extended,
        "wrongly_accepted": accepted,
        "bulk_s": round(time.monotonic() - started, 1),
    }
    return figures, accepted == 0


def commands(
    folder: Path,
    data: bytes,
    signer: tampering.KeyPair,
    environ: dict[str, str],
    generator: random.Random,
) -> tuple[dict[str, object], bool]:
    """The named attacks and a sample of changed bytes, through the command."""
    path = folder / "case.tgsp"
    path.write_bytes(data)
    whole = tensafe_verify(path, environ, "--require-trusted")
    print(f"untouched: exit {whole.exit_code}, {whole.verdict}, peak {whole.peak_mb} MB")
    ended: dict[str, Ended] = {}
    for name, case in tampering.attacks(data, signer).items():
        case.write(path)
        ended[name] = tensafe_verify(path, environ, *case.options)
        shown = ended[name]
        print(f"{name}: exit {shown.exit_code}, peak {shown.peak_mb} MB: {shown.reason[:100]}")
    sample: list[int] = []
    for _ in range(SAMPLE):
        changed = bytearray(data)
        changed[generator.randrange(len(data))] ^= generator.randrange(1, 256)
        path.write_bytes(changed)
        sample.append(tensafe_verify(path, environ).exit_code)
    print(f"{SAMPLE} random changes through the command: exit codes {sorted(set(sample))}")
    exits = {name: end.exit_code for name, end in ended.items()}
    extra = max(end.peak_mb for end in ended.values()) - whole.peak_mb
    declared = max(end.peak_mb for name, end in ended.items() if "declared" in name) - whole.peak_mb
    holds = (
        (whole.exit_code, whole.verdict) == (0, "trusted")
        and set(exits.values()) == {REFUSED}
        and set(sample) == {REFUSED}
        and extra <= ALLOWED_EXTRA_MB
        and declared <= DECLARED_EXTRA_MB
    )
    figures: dict[str, object] = {
        "exit_codes": exits,
        "sample_exit_codes": sorted(set(sample)),
        "untouched_peak_mb": whole.peak_mb,
        "largest_extra_peak_mb": round(extra, 1),
        "declared_4_gib_extra_peak_mb": round(declared, 1),
    }
    return figures, holds


def digest(data: bytes) -> str:
    """The first digits of the SHA-256, for the eye."""
    return hashlib.sha256(data).hexdigest()[:16]


if __name__ == "__main__":
    main()
