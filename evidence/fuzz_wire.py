"""Nothing that can be sent makes the server fail, hang, or show one key what is another's.

One server, two keys. Schemathesis works through the OpenAPI document with the second key; real
bodies (JSON, protobuf, zstd) are broken at random and sent; every operation of the document is
asked for the first key's things with the second key (not found), and with wrong keys (401).
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from evidence._report import conclude
from evidence._served import Served
from evidence._wire_belongings import NAME, Belongings, client, make, post, result, sample, view
from evidence._wire_mutation import broken, real_bodies

HERS, MINE = "hers-alone-7f3a", "mine-to-see-0c11"
# Long polls take 30 seconds; nothing may take longer than that and a moment.
LIMIT_S = 40.0
HONEST_5XX = (503, 507)
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance", "ignored_auth", "unsupported_method",
)  # fmt: skip
# Operations that answer the second key with success although the first key's ids were given: they
# name nothing of anybody, or only what the asker owns, or do nothing for a request that isn't his.
HARMLESS = (
    r"get /metrics|get /v1/models|"
    r"\w+ /api/v1/(healthz|get_server_capabilities|client/(dynamic_)?config|telemetry|"
    r"create_session|sessions|training_runs|checkpoints|cancel_future|"
    r"engine/(capabilities|base(/shape)?|slots|status))"
)


@dataclass
class Tally:
    """What was answered, and what should not have been."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    faults: list[str] = field(default_factory=list[str])
    slowest_s: float = 0.0

    def send(self, http: httpx.Client, method: str, url: str, **content: Any) -> httpx.Response:
        """Send a request and look at the answer."""
        started_at = time.monotonic()
        try:
            answer = http.request(method, url, timeout=LIMIT_S, **content)
        except httpx.HTTPError as error:
            self.faults.append(f"{method} {url}: {type(error).__name__}")
            return httpx.Response(599, request=httpx.Request(method, "http://none"))
        self.slowest_s = max(self.slowest_s, time.monotonic() - started_at)
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code not in HONEST_5XX:
            self.faults.append(f"{method} {url}: {answer.status_code} {answer.text[:200]}")
        if HERS in answer.text:
            self.faults.append(f"{method} {url}: answered what is another key's")
        return answer


def mutate(http: httpx.Client, things: Belongings, count: int, seed: int) -> Tally:
    """Send `count` broken bodies."""
    rng, tally = random.Random(seed), Tally()
    bodies = real_bodies(things)
    for _ in range(count):
        sent = broken(rng.choice(bodies), rng)
        tally.send(http, "POST", f"/api/v1{sent.route}", content=sent.content, headers=sent.headers)
    return tally


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of everything in the document."""
    return [(m, p, op) for p, methods in document["paths"].items() for m, op in methods.items()]


def filled(path: str, things: Belongings) -> str:
    """A path that asks for somebody's things."""
    values = {
        "session_id": things.session_id,
        "run_id": things.run_id,
        "sampler_id": things.sampler_id,
        "kind": "weights",
        "name": NAME,
        "file": "adapter_config.json",
    }
    return re.sub(r"\{(\w+)\}", lambda m: values[m.group(1)], path)


def wrong_keys(document: dict[str, Any], base_url: str, things: Belongings) -> Tally:
    """Every operation without a key, and with wrong ones: 401, and for `healthz` alone 200."""
    tally = Tally()
    right_length = "tml-" + "x" * 43
    with httpx.Client(base_url=base_url, trust_env=False) as http:
        for method, path, _ in operations(document):
            for headers in (
                {},
                {"X-API-Key": right_length},
                {"Authorization": f"Bearer {right_length}"},
                {"X-API-Key": ""},
                {"X-API-Key": "local", "Authorization": "Bearer local"},
            ):
                url = filled(path, things)
                answer = tally.send(http, method.upper(), url, json={}, headers=headers)
                expected = 200 if path == "/api/v1/healthz" else 401
                if answer.status_code != expected:
                    tally.faults.append(f"{method} {path}: {answer.status_code} for {headers}")
    return tally


def other_key(document: dict[str, Any], http: httpx.Client, things: Belongings) -> Tally:
    """Every operation with a right key, for the things of another: never a success."""
    tally = Tally()
    bodies = {body.route: body for body in real_bodies(things) if body.media.endswith("json")}
    for method, path, operation in operations(document):
        body = bodies.get(path.removeprefix("/api/v1"))
        content: dict[str, Any] = {"params": {"limit": 1000}} if method == "get" else {}
        if body is not None:
            content = {"content": body.content, "headers": {"Content-Type": body.media}}
        elif "requestBody" in operation:
            content = {"json": {"ttl_seconds": 3600, "reason": {}}}
        answer = tally.send(http, method.upper(), filled(path, things), **content)
        is_harmless = re.fullmatch(HARMLESS, f"{method} {path}") is not None
        if answer.is_success and not is_harmless:
            tally.faults.append(f"{method} {path}: {answer.status_code} for another key's things")
        if is_harmless and things.session_id in answer.text:
            tally.faults.append(f"{method} {path}: names another key's session")
    return tally


def schemathesis(base_url: str, key: str, folder: Path, examples: int, seed: int) -> dict[str, Any]:
    """Run Schemathesis with the second key; its report is searched for what is the first's."""
    report = folder / "schemathesis.ndjson"
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"), "--no-color", "run",
            f"{base_url}/openapi.json", "-H", f"X-API-Key: {key}", "--checks", ",".join(CHECKS),
            "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples),
            "--request-timeout", str(LIMIT_S), "--seed", str(seed), "--continue-on-failure",
            "--generation-database", "none", "--report", "ndjson",
            "--report-ndjson-path", str(report),
        ],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stdout[-6000:], flush=True)
    cases = re.search(r"(\d+) generated", done.stdout)
    return {
        "exit": done.returncode,
        "cases": int(cases.group(1)) if cases else 0,
        "leaks": report.read_text("utf-8", "replace").count(HERS),
    }


def still_works(http: httpx.Client, base_url: str, key: str) -> bool:
    """Whether a newcomer can still train and sample."""
    with client(base_url, key) as newcomer:
        things = make(newcomer, "after")
        sampled = post(newcomer, "/asample", sample(things.sampler_id, 9))
        return "sequences" in result(newcomer, sampled) and http.get("/api/v1/healthz").is_success


def main() -> None:
    """Fuzz a server of our own."""
    options = argparse.ArgumentParser()
    options.add_argument("--mutations", type=int, default=2000)
    options.add_argument("--examples", type=int, default=25)
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = options.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory() as name:
        served = Served(Path(name), "--threads", "1")
        keys = [served.new_key(who) for who in ("ann", "eve", "new")]
        with (
            served,
            client(served.base_url, keys[0]) as ann,
            client(served.base_url, keys[1]) as eve,
        ):
            hers, mine = make(ann, HERS), make(eve, MINE)
            before = view(ann, hers)
            waiting = post(ann, "/asample", sample(hers.sampler_id, 2))
            document = eve.get("/openapi.json").json()
            parts = {
                "wrong_keys": wrong_keys(document, served.base_url, hers),
                "other_key": other_key(document, eve, hers),
                "mutations": mutate(eve, mine, asked.mutations, asked.seed),
            }
            found = schemathesis(served.base_url, keys[1], Path(name), asked.examples, asked.seed)
            after = view(ann, hers)
            is_untouched = after == before and "sequences" in result(ann, waiting)
            for old, new in zip(before, after, strict=True):
                if old != new:
                    print(f"hers has changed:\n  {old}\n  {new}")
            works = still_works(eve, served.base_url, keys[2])
            tracebacks = served.tracebacks()
            log = served.log.read_text("utf-8")
    faults = [fault for tally in parts.values() for fault in tally.faults]
    for line in [*faults[:30], *tracebacks[:3]]:
        print(line)
    figures = {
        "seed": asked.seed,
        "operations": len(operations(document)),
        "statuses": {part: dict(tally.statuses) for part, tally in parts.items()},
        "slowest_s": round(max(tally.slowest_s for tally in parts.values()), 2),
        "faults": len(faults),
        "unexpected_failures": len(tracebacks),
        "schemathesis": found,
        "quotes_in_log": sum(log.count(text) for text in (HERS, MINE, *keys)),
        "hers_untouched": is_untouched,
        "still_works": works,
    }
    is_quiet = not tracebacks and figures["quotes_in_log"] == 0
    is_clean = not faults and is_quiet and is_untouched and works
    is_conforming = found["exit"] == 0 and found["cases"] > 0 and found["leaks"] == 0
    conclude("fuzz-wire", figures, holds=is_clean and is_conforming)


if __name__ == "__main__":
    main()
