"""Documented commands work as written, and wrong calls of `tensafe` are answered with a sentence.

README and each page of the docs are run as a new user would, block after block, copied into one
shell, in a fresh home, beside files of the kind that they speak of; in docs/cli.md, which holds the
examples of `--help`, each block has a home of its own. A server has to run until the next one is
started or the page ends. What a line needs that can't be had here (a package index, a provider's
key, a name of its reader's own) is listed with its reason and counted. A quality gate's no (exit 3,
with advice) is an answer, shown as such: privacy on a few hundred rows ends so.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from evidence._documented import Block, blocks, programs
from evidence._error_cases import TABLE, Ended, generic_cases, tried
from evidence._new_user import Stage, build_stage, environment, move_in, provide, write_table
from evidence._report import conclude

# A call that holds the words is not made, for the reason.
LEFT_OUT = {
    "make demo": "installs and trains; the claim `demo` runs it",
    "make setup": "installs; the claim `demo` runs it",
    "make evidence": "is a claim of its own",
    "pip install": "needs a package index",
    "podman ": "needs a container engine",
    "helm ": "needs a cluster; the claim `chart` renders it",
    "kubectl ": "needs a cluster",
    "tests/clients/cookbook_": "needs tinker-cookbook; the claim `cookbook` runs it",
    "--teacher http": "needs a teacher's server",
    "--judge http": "needs a judge's server",
    "openai:": "needs a provider's key",
    "db.internal": "needs that database",
    "tml-...": "needs a key in place of the dots",
    "01a20ffa81342252ef3c1b466a0cf052": "names a debate of its reader's own",
    "ollama ": "needs ollama",
    "--database-url postgresql": "needs that database",
    "postgresql://market@": "needs that database",
    "FINGERPRINT": "needs a value in place of the word",
}
# The same, by patterns: what stands for a value of the reader's own.
_NOT_MINE = r"\b20\d{6}T\d{6}Z-|\b[0-9a-f]{64}\b|[0-9a-f]{4}(\.\.\.|…)"
LEFT_OUT_FORMS = {
    r"https?://\S*example\.(org|com)|oci://\S*example": "names a host that doesn't exist",
    _NOT_MINE: "names a record of its reader's own",
    r"--model-id|--parent |@2\b|=loop-v2": "names a version of its reader's own",
}
# In the list of all commands these have no host to talk to; docs/swapping.md starts one.
NEEDS_HOST = ("tensafe slot ", "tensafe swap ", "aragora jobs work", "--upstream ")
SERVES = (" serve", "tensafe watch", "tensafe mcp", "aragora jobs work")
# These steer a loop that runs, or end with what there is to do.
STEERS = ("--status", "--pause", "--resume", "--stop", "--until-idle")
SERVED_S, PAGE_S = 60, 7200
HELP = "docs/cli.md"
# A page whose calls speak of what another page's make.
CONTINUES = {"docs/AGENT_SELECTION.md": "docs/loop.md"}
REFUSED = 3


@dataclass(frozen=True)
class Call:
    """One documented line, and how it ended: an exit code, or the reason why it was not made."""

    block: str
    line: str
    code: int | None
    reason: str
    said: str = ""

    @property
    def works(self) -> bool:
        """Done, or refused by a gate that says why."""
        return self.code is None or self.code == 0 or self.is_refused

    @property
    def is_refused(self) -> bool:
        """A gate's no with its advice."""
        why = ("try:", "NOT READY", "against it:", "not significant at", "tensafe swap incident")
        return self.code == REFUSED and any(words in self.said for words in why)


def main() -> None:
    """Build a stage, run all blocks, then all wrong calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="blocks whose text matches, for a look")
    parser.add_argument("--stage", type=Path, help="a stage that is kept, for a look")
    parser.add_argument("--part", choices=("docs", "errors"), help="one half, for a look")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept: Path = given.stage or folder / "stage"
        stage = Stage(kept) if kept.is_dir() else build_stage(kept)
        calls = [] if given.part == "errors" else documented(stage, folder, given.only)
        ended = [] if given.part == "docs" else wrong_calls(stage, folder)
    made = [call for call in calls if call.code is not None]
    broken = [call for call in calls if not call.works]
    unanswered = [end for end in ended if end.problem]
    figures = {
        "blocks": len({call.block for call in calls}),
        "calls": len(made),
        "work": sum(call.code == 0 for call in made),
        "refused_by_a_gate": sum(call.is_refused for call in made),
        "broken": [call.line for call in broken],
        "left_out": dict(Counter(call.reason for call in calls if call.code is None)),
        "wrong_calls": len(ended),
        "answered": len(ended) - len(unanswered),
        "exit_codes": dict(sorted(Counter(str(end.code) for end in ended).items())),
        "seconds": round(time.monotonic() - started),
    }
    whole = given.part is None and not given.only
    held = bool(made) and bool(ended) and not broken and not unanswered
    conclude("commands", figures, holds=whole and held)


def documented(stage: Stage, folder: Path, only: str) -> list[Call]:
    """Every block in a home of its own."""
    calls: list[Call] = []
    for place, block in enumerate(stories(blocks())):
        if only and not any(re.search(only, line) for line in (block.name, *block.calls)):
            continue
        home = folder / f"user{place}"
        home.mkdir()
        done = run_block(block, move_in(stage, home), home / "home", stage)
        for call in done:
            mark = "left out" if call.code is None else ("works" if call.code == 0 else call.code)
            print(f"{mark!s:<9} {call.block:<22} {call.line.strip()[:110]}", flush=True)
            if call.code is None:
                print(f"{'':<33} {call.reason}", flush=True)
            elif call.code != 0:
                print(f"{'':<12}{call.said.strip()[-600:]}", flush=True)
        calls += done
        shutil.rmtree(home, ignore_errors=True)
    return calls


def stories(found: list[Block]) -> list[Block]:
    """Blocks of the list of commands one by one, those of any other page as one."""
    told: dict[str, Block] = {}
    for block in sorted(found, key=lambda block: block.page in CONTINUES):
        key = block.name if block.page == HELP else CONTINUES.get(block.page, block.page)
        known = told.get(key)
        told[key] = block if known is None else replace(known, calls=known.calls + block.calls)
    return list(told.values())


def run_block(block: Block, work: Path, home: Path, stage: Stage) -> list[Call]:
    """Run a block's lines in one shell; a line's exit code doesn't end it."""
    reasons = [left_out(block, call) for call in block.calls]
    made_here = any(" init " in call or " train " in call for call in block.calls)
    for call, reason in zip(block.calls, reasons, strict=True):
        if not reason:
            provide(call, work, stage, runs=not (made_here and block.page != HELP))
    mark = secrets.token_hex(8)
    lines: list[str] = []
    for call, reason in zip(block.calls, reasons, strict=True):
        if not reason:
            # A new project wants its owner's files before it is trained, and its skill described.
            lines += [
                *served(call),
                f'CODE=$?; echo; echo "{mark} $CODE"; echo; echo "{mark} -" >&2',
                f"if [ -f data/.gitkeep ]; then cp -n {shlex.quote(str(stage.table))} data/; "
                f"cp -n {shlex.quote(str(work))}/*.csv . ; "
                f"cp {shlex.quote(str(stage.skill))} SKILL.md; fi 2>/dev/null",
            ]
    lines.append(STOP_SERVERS)
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=work,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PAGE_S,
        check=False,
    )
    parts = done.stdout.split(f"{mark} ")
    codes = [int(part.split(maxsplit=1)[0]) for part in parts[1:]]
    said = [parts[0], *(part.split("\n", 1)[-1] for part in parts[1:])]
    errors = done.stderr.split(f"{mark} -\n")
    calls: list[Call] = []
    for call, reason in zip(block.calls, reasons, strict=True):
        if reason:
            calls.append(Call(block.name, call, None, reason))
            continue
        place = sum(one.code is not None for one in calls)
        code = codes[place] if place < len(codes) else 1
        text = "\n".join(part[place] for part in (said, errors) if place < len(part))
        calls.append(Call(block.name, call, code, "", text))
    return calls


STOP_SERVERS = "kill $(jobs -p) 2>/dev/null; wait"


def left_out(block: Block, call: str) -> str:
    """Why a line is not run, "" where it is."""
    if block.page == HELP and any(name in call for name in NEEDS_HOST):
        return "needs a running host; a page of the docs starts one"
    for words, reason in LEFT_OUT.items():
        if words in call:
            return reason
    return next((why for form, why in LEFT_OUT_FORMS.items() if re.search(form, call)), "")


def served(call: str) -> list[str]:
    """The shell lines for a call; a server is put into the background and has to stay alive."""
    plain = re.sub(r"\s#\s.*$", "", call).rstrip()
    named = any(Path(word).name in programs() for word in plain.split())
    ends = "--help" in plain or any(word in STEERS for word in plain.split())
    if not named or ends or not any(name in plain for name in SERVES):
        return [call]
    command = plain.removesuffix("&").rstrip()
    # MCP's server ends with its standard input, so that is kept open.
    kept_open = "< <(exec tail -f --pid=$$ /dev/null 2>/dev/null)"
    return [STOP_SERVERS, f"{command} {kept_open} & sleep {SERVED_S}; kill -0 $!"]


def wrong_calls(stage: Stage, folder: Path) -> list[Ended]:
    """The table of errors over all commands, in a home of its own."""
    home = folder / "wrong"
    home.mkdir()
    work = move_in(stage, home)
    own = environment(home / "home")
    os.environ.clear()
    os.environ |= own
    prepare(work, stage)
    ended: list[Ended] = []
    for case in (*TABLE, *generic_cases()):
        end = tried(case, work)
        lines = end.message.strip().splitlines()
        print(
            f"{'right' if not end.problem else 'WRONG':<6} exit {end.code}  "
            f"tensafe {shlex.join(case.call)[:70]:<72} {lines[-1].strip()[:100] if lines else ''}",
            flush=True,
        )
        if end.problem:
            print(f"       {end.problem}", flush=True)
        ended.append(end)
    return ended


def prepare(work: Path, stage: Stage) -> None:
    """The files that the table of errors speaks of."""
    import pickle

    for call in ("support.tgsp", "runs/support", "some_lora/", "bare.safetensors"):
        provide(call, work, stage)
    write_table(work / "tickets.csv")
    (work / "few.csv").write_text("question,answer\nWho?,Me\nWhere?,Here\n", encoding="utf-8")
    (work / "wrong.yaml").write_text("epsylon: 4\n", encoding="utf-8")
    (work / "bare.bin").write_bytes(pickle.dumps({"weight": os.getcwd}))
    (work / "taken").mkdir()
    (work / "taken" / "mine.txt").write_text("mine\n", encoding="utf-8")
    package = bytearray((work / "support.tgsp").read_bytes())
    package[-5] ^= 1
    (work / "broken.tgsp").write_bytes(package)
    stranger(work / "support.tgsp", work / "stranger.tgsp")
    shutil.copytree(work / "runs" / "support", work / "runs" / "refused")
    gates = work / "runs" / "refused" / "gates.json"
    text = gates.read_text(encoding="utf-8")
    place = text.index('"qa_verify"')
    gates.write_text(
        text[:place] + text[place:].replace('"passed"', '"failed"', 1), encoding="utf-8"
    )


def stranger(package: Path, path: Path) -> None:
    """The package signed by somebody who is not in the trust store."""
    from evidence._gate_packages import resigned
    from tensafe.tgsp import Identity, KeyPair
    from tensafe.tgsp.keys import public_keys_fields

    signer = KeyPair.generate(Identity("Stranger", "stranger@example.org"))
    keys = {
        "public_key_fingerprint": signer.public.fingerprint,
        **public_keys_fields(signer.public.keys),
    }
    data = resigned(package.read_bytes(), signer, lambda raw: raw["creator"].update(keys))
    path.write_bytes(data)


if __name__ == "__main__":
    main()
