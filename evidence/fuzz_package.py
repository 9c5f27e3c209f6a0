"""A million mutated packages: typed errors only, no hang, and nothing changed is ever accepted.

Three targets. `header` reads a safetensors header; what it accepts, the safetensors library has to
read in the same way. `manifest` parses a manifest and its byte form; what it accepts has to spell
the value that any JSON reader sees. `package` verifies a whole package, signatures included; what
it accepts has to be the untouched content. Mutations change bytes, length fields and parsed JSON;
a case that ends in an outcome not seen before is mutated further (feedback by the reason given,
which is finer here than by lines). The same --seed makes the same cases.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors

from evidence import _tampering as tampering
from evidence._package_mutation import bytewise, lengthwise, spelled, treewise
from evidence._report import conclude
from tensafe.errors import VerificationError
from tensafe.tgsp import KeyStore, load_trust, trust_path, verify
from tensafe.tgsp.canonical import canonical_json, require_one_of_two_forms
from tensafe.tgsp.manifest import manifest_hash, parse_manifest
from tensafe.tgsp.reader import MAGIC, PREAMBLE_BYTES, split_package
from tensafe.tgsp.safetensors_header import read_header
from tensafe.tgsp.trust import TrustStore

CASES = {"header": 560_000, "manifest": 320_000, "package": 140_000}
LIMIT_S = 2.0
GROWN_MB = 300.0
_KEPT = 400
_DETAIL = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9a-f]{16,}|\d+")


class HangError(BaseException):
    """One case took longer than the limit; no `except Exception` of a reader swallows it."""


@dataclass
class Target:
    """One reader: `run` gives a reason, raises a typed error, or gives "" for an acceptance.

    `is_true` says whether an accepted case may be accepted.
    """

    name: str
    seeds: tuple[bytes, ...]
    mutate: Callable[[bytes, random.Random], bytes]
    run: Callable[[bytes], str]
    is_true: Callable[[bytes], bool]
    kept: list[bytes] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    slowest_s: float = 0.0
    faults: list[str] = field(default_factory=list)


def main() -> None:
    """Fuzz the three targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--share", type=float, default=1.0, help="of the cases; less proves less")
    parser.add_argument("--target", choices=tuple(CASES), help="only this one, for a look")
    given = parser.parse_args()
    print(f"seed {given.seed} (give --seed {given.seed} for the same cases)", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        signer = tampering.new_signer(KeyStore(folder / "home"), secrets.token_urlsafe(24))
        data = tampering.small_package(folder, signer)
        found = targets(data, load_trust(trust_path(folder / "home")))
    # A reader that refuses everything would never accept wrongly.
    refused = [target.name for target in found if refuses_the_untouched(target)]
    if refused:
        print(f"the untouched input is refused: {', '.join(refused)}", flush=True)
    before = peak_mb()
    done = dict.fromkeys(CASES, 0)
    for target in [one for one in found if given.target in (None, one.name)]:
        cases = round(CASES[target.name] * given.share)
        begun = time.monotonic()
        fuzz(target, cases, random.Random(f"{given.seed}:{target.name}"))
        done[target.name] = cases
        seconds = time.monotonic() - begun
        print(
            f"{target.name}: {cases} cases in {seconds:.0f}s, {len(target.outcomes)} outcomes, "
            f"{target.accepted} rightly accepted, slowest {target.slowest_s * 1000:.0f} ms, "
            f"{len(target.faults)} faults",
            flush=True,
        )
        for outcome, count in target.outcomes.most_common(6):
            print(f"    {count:>7}  {outcome[:110]}")
        for fault in target.faults[:10]:
            print(f"    FAULT {fault}")
    grown = peak_mb() - before
    faults = [fault for target in found for fault in target.faults]
    figures = {
        "seed": given.seed,
        "cases": sum(done.values()),
        "refuses_untouched": refused,
        "outcomes": {target.name: len(target.outcomes) for target in found},
        "rightly_accepted": {target.name: target.accepted for target in found},
        "crashes_hangs_false_accepts": len(faults),
        "slowest_ms": round(max(target.slowest_s for target in found) * 1000),
        "peak_grown_mb": round(grown, 1),
        "cpu_s": round(time.process_time()),
        "seconds": round(time.monotonic() - started),
    }
    complete = all(done[name] >= cases for name, cases in CASES.items())
    holds = complete and not (faults or refused) and grown <= GROWN_MB
    conclude("fuzz-package", figures, holds=holds)


def refuses_the_untouched(target: Target) -> bool:
    """Whether the first seed, which is a whole and unchanged input, is not accepted."""
    try:
        return bool(target.run(target.seeds[0])) or not target.is_true(target.seeds[0])
    except VerificationError:
        return True


def fuzz(target: Target, cases: int, generator: random.Random) -> None:
    """Mutate, run, keep what was new."""
    with time_limit() as begin:
        for _ in range(cases):
            pool = target.kept if target.kept and generator.random() < 0.6 else target.seeds
            data = target.mutate(generator.choice(pool), generator)
            begin(LIMIT_S)
            started = time.process_time()
            try:
                outcome = target.run(data)
            except VerificationError as error:
                outcome = f"{type(error).__name__}: {error}"
            except HangError:
                outcome = "hang"
                target.faults.append(f"hang: {data[:200]!r}")
            except Exception as error:
                outcome = f"crash {type(error).__name__}"
                target.faults.append(f"{type(error).__name__}: {error}: {data[:200]!r}")
            finally:
                begin(0.0)
            target.slowest_s = max(target.slowest_s, time.process_time() - started)
            if not outcome:
                if target.is_true(data):
                    target.accepted += 1
                else:
                    target.faults.append(f"false accept: {data[:600]!r}")
            kind = _DETAIL.sub("#", outcome)[:200]
            if kind not in target.outcomes and len(target.kept) < _KEPT:
                target.kept.append(data)
            target.outcomes[kind] += 1


@contextmanager
def time_limit() -> Generator[Callable[[float], object]]:
    """Gives a function that sets the limit of the next case in CPU seconds; 0 ends it.

    CPU time, so that a busy machine makes no case a hang.
    """

    def stop(signum: int, frame: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGPROF, stop)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_PROF, seconds)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def targets(data: bytes, trust: TrustStore) -> list[Target]:
    """The three readers with their seeds and what each may accept."""
    package = split_package(data)
    manifest, payload = package.manifest_bytes, bytes(package.payload)
    parsed: dict[str, Any] = json.loads(manifest)
    reference = json.dumps(parsed, sort_keys=True, indent=2).encode()
    small = _small_payload()
    return [
        Target("header", (small, payload[:2000], payload), mutate_header, run_header, same_header),
        Target("manifest", (manifest, reference), mutate_manifest, run_manifest, same_manifest),
        Target(
            "package",
            (data, tampering.assemble(reference, payload)),
            mutate_package,
            lambda case: run_package(case, trust),
            lambda case: same_package(case, manifest, payload),
        ),
    ]


def _small_payload() -> bytes:
    header = {
        "__metadata__": {"format": "pt"},
        "m.lora_A.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "m.lora_B.weight": {"dtype": "BF16", "shape": [4, 2], "data_offsets": [24, 40]},
        "n.empty": {"dtype": "I64", "shape": [0, 2], "data_offsets": [40, 40]},
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(40)


def mutate_header(data: bytes, generator: random.Random) -> bytes:
    """Bytes, the length, or the header's JSON with its length kept right."""
    way = generator.random()
    size = int.from_bytes(data[:8], "little")
    document = _object_in(data[8 : 8 + size]) if way < 0.6 else None
    if document is None:
        if way < 0.7 and len(data) >= 8:
            return lengthwise(data, generator, 0, 8)
        return bytewise(data, generator)
    text = spelled(treewise(document, generator), generator)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def run_header(data: bytes) -> str:
    """Accepts well-formed payloads."""
    read_header(data)
    return ""


def same_header(data: bytes) -> bool:
    """The safetensors library reads the same tensors."""
    ours = {t.name: (list(t.shape), t.end - t.begin) for t in read_header(data).tensors}
    try:
        theirs = safetensors.deserialize(data)
    except safetensors.SafetensorError:
        return False
    return ours == {name: (list(e["shape"]), len(e["data"])) for name, e in theirs}


def mutate_manifest(data: bytes, generator: random.Random) -> bytes:
    """Bytes or parsed JSON."""
    document = _object_in(data) if generator.random() < 0.6 else None
    if document is None:
        return bytewise(data, generator)
    return spelled(treewise(document, generator), generator)


def run_manifest(data: bytes) -> str:
    """Accepts manifests of the right fields in one of the two byte forms."""
    require_one_of_two_forms(data, parse_manifest(data).raw)
    return ""


def same_manifest(data: bytes) -> bool:
    """Python's own reader sees the same value, and nothing else spells it in that form."""
    raw = parse_manifest(data).raw
    forms = (
        json.dumps(raw, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps(raw, sort_keys=True, indent=2).encode(),
    )
    return json.loads(data) == raw and data in forms


def mutate_package(data: bytes, generator: random.Random) -> bytes:
    """Bytes, the manifest's length, its JSON (often hashed anew), or the payload's header."""
    way = generator.random()
    length = int.from_bytes(data[len(MAGIC) : PREAMBLE_BYTES], "little")
    manifest, payload = (
        data[PREAMBLE_BYTES : PREAMBLE_BYTES + length],
        data[PREAMBLE_BYTES + length :],
    )
    document = _object_in(manifest) if way < 0.55 else None
    if document is not None:
        changed = treewise(document, generator)
        if generator.random() < 0.6:
            _hash_anew(changed)
        return tampering.assemble(spelled(changed, generator), payload)
    if way < 0.65:
        return tampering.assemble(manifest, mutate_header(payload, generator))
    if way < 0.7 and len(data) >= PREAMBLE_BYTES:
        return lengthwise(data, generator, len(MAGIC), 4)
    return bytewise(data, generator)


def run_package(data: bytes, trust: TrustStore) -> str:
    """Accepts what `tensafe verify` accepts; else the first reason and the names of all."""
    verified = verify(split_package(data), trust)
    if verified.is_accepted(trusted=False):
        return ""
    failed = " ".join(check.name for check in verified.failures if check.status == "failed")
    return f"{failed}: {verified.why}"


def same_package(data: bytes, manifest: bytes, payload: bytes) -> bool:
    """The untouched content, in either byte form."""
    found = split_package(data)
    original = parse_manifest(manifest).raw
    return bytes(found.payload) == payload and canonical_json(
        found.manifest().raw
    ) == canonical_json(original)


def _object_in(text: bytes) -> dict[str, Any] | None:
    """The JSON object in these bytes, where Python's lenient reader finds one."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value else None


def _hash_anew(manifest: dict[str, Any]) -> None:
    """State the right manifest hash, so that the checks behind it have to hold."""
    try:
        manifest["integrity"]["manifest_hash"] = manifest_hash(manifest)
    except (KeyError, TypeError, VerificationError):
        return


def peak_mb() -> float:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
