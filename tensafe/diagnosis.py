"""What `tensafe doctor` looks at: environment, torch, keys, trust, disks, base and engine.

Every finding says a fact, and what to do where something is wrong. Nothing here changes anything:
the engine runs in a home of its own, which is gone afterwards.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path
from typing import Literal

from tensafe.errors import TensafeError

Status = Literal["ok", "hint", "broken"]
LOW_DISK_BYTES = 2 << 30
LOW_MEMORY_BYTES = 4 << 30
SOON_DAYS = 30
_NEEDED = ("torch", "transformers", "tinker", "safetensors", "cryptography", "dp-accounting")
_OPTIONAL = {
    "peft": "exports are compared in PEFT, too",
    "llama_cpp": "GGUF exports are compared in llama.cpp, too",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` is empty where there is nothing to do."""

    name: str
    status: Status
    fact: str
    advice: str = ""


def examine(
    *, engine: str | None = None, base_model: str | None = None, with_engine: bool = True
) -> list[Finding]:
    """All findings, in order. A look that crashes is a finding, too."""
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", _python),
        ("libraries", _libraries),
        ("torch", _torch),
        ("memory", _memory),
        ("disk", _disk),
        ("keys", _keys),
        ("trust", _trust),
    ]
    if with_engine:
        looks.append(("engine", lambda: _engine(engine, base_model)))
    return [finding for name, look in looks for finding in _looked(name, look)]


def _looked(name: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    from tinker_engine.errors import EngineError

    try:
        return list(look())
    except (TensafeError, EngineError) as error:
        return [Finding(name, "broken", str(error), "mend this and run `tensafe doctor` again")]
    # The edge where a doctor's own stumbling becomes a finding, not an end.
    except Exception as error:
        return [Finding(name, "broken", f"{type(error).__name__}: {error}")]


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    fact = f"{version} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("python", "ok", fact)


def _libraries() -> Iterator[Finding]:
    found = {name: _version(name) for name in ("aragora", *_NEEDED)}
    missing = [name for name, version in found.items() if version is None]
    fact = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if missing:
        yield Finding(
            "libraries",
            "broken",
            f"{', '.join(missing)} not installed",
            "run `make setup`, or pip install the project again",
        )
    else:
        yield Finding("libraries", "ok", fact)
    for name, use in _OPTIONAL.items():
        if util.find_spec(name) is None:
            yield Finding("libraries", "ok", f"{name} is not installed; with it {use}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch() -> Iterator[Finding]:
    import torch

    build = "CPU build" if torch.version.cuda is None else f"build for CUDA {torch.version.cuda}"
    fact = f"{torch.__version__}, {build}, {torch.get_num_threads()} threads"
    if torch.version.cuda is not None:
        yield Finding(
            "torch", "hint", fact, "this version computes on the CPU; its build is smaller"
        )
    else:
        yield Finding("torch", "ok", fact)
    product = torch.ones(2, 2) @ torch.ones(2, 2)
    if float(product.sum()) != 8.0:
        yield Finding("torch", "broken", "a product of two matrices is wrong", "install it again")


def _memory() -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    fact = f"{total / 2**30:.1f} GiB"
    if total < LOW_MEMORY_BYTES:
        yield Finding("memory", "hint", fact, "with `nano` it will do; larger bases need more")
    else:
        yield Finding("memory", "ok", fact)


def _disk() -> Iterator[Finding]:
    from tensafe.tgsp.keystore import tensafe_home
    from tinker_engine.config import EngineConfig

    places = {
        "tensafe home": tensafe_home(),
        "engine home": EngineConfig().home,
        "this folder": Path.cwd(),
        "temporary files": Path(tempfile.gettempdir()),
    }
    for name, path in places.items():
        there = next(p for p in (path, *path.absolute().parents) if p.exists())
        free = shutil.disk_usage(there).free
        fact = f"{name} {path}: {free / 2**30:.1f} GiB free"
        if not os.access(there, os.W_OK):
            yield Finding("disk", "broken", f"{name} {path}: not writable", "choose another place")
        elif free < LOW_DISK_BYTES:
            yield Finding("disk", "hint", fact, "make room, or name another place")
        else:
            yield Finding("disk", "ok", fact)


def _keys() -> Iterator[Finding]:
    from tensafe.tgsp.keystore import KeyStore, trust_path
    from tensafe.tgsp.passphrase import PASSPHRASE_VARIABLE
    from tensafe.tgsp.trust import end_of, load_trust

    store = KeyStore()
    own = store.identities()
    if not own:
        yield Finding(
            "keys", "hint", f"no signing key in {store.home}", "`tensafe keys new NAME` makes one"
        )
        return
    now, trust = datetime.now(UTC), load_trust(trust_path())
    for public in own:
        entry = trust.find(public.fingerprint)
        fact = f"{public.identity.name}, {public.fingerprint[:16]}"
        state = entry.state(now) if entry is not None else "untrusted"
        if state == "untrusted":
            advice = "`tensafe keys export` and `tensafe keys trust` make it trusted here again"
            yield Finding("keys", "hint", f"{fact}: not in your trust store", advice)
        elif state != "trusted":
            advice = f"`tensafe keys rotate {public.identity.name!r}` makes the next one"
            yield Finding("keys", "broken", f"{fact}: {state}, so it can't sign", advice)
        elif (
            entry is not None
            and entry.expires is not None
            and (end_of(entry.expires) - now).days < SOON_DAYS
        ):
            advice = f"`tensafe keys rotate {public.identity.name!r}` makes the next one"
            yield Finding("keys", "hint", f"{fact}: expires {entry.expires}", advice)
        else:
            yield Finding("keys", "ok", f"{fact}: can sign")
    if not os.environ.get(PASSPHRASE_VARIABLE) and not sys.stdin.isatty():
        yield Finding(
            "keys",
            "hint",
            f"no terminal and no {PASSPHRASE_VARIABLE}, so nothing can be signed from here",
            f"set {PASSPHRASE_VARIABLE} or give --passphrase-file",
        )


def _trust() -> Iterator[Finding]:
    from tensafe.tgsp.keystore import trust_path
    from tensafe.tgsp.trust import load_trust

    path, now = trust_path(), datetime.now(UTC)
    states = [entry.state(now) for entry in load_trust(path)]
    if not states:
        yield Finding(
            "trust",
            "hint",
            "your trust store is empty, so every package is untrusted",
            "`tensafe keys trust FILE` adds a creator; a key of your own is added when it is made",
        )
        return
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    yield Finding("trust", "ok", ", ".join(f"{count} {state}" for state, count in counts.items()))


def _engine(engine: str | None, base_model: str | None) -> Iterator[Finding]:
    from tinker_engine.config import EngineConfig
    from tinker_engine.connect import base_info, load_tokenizer, open_engine
    from tinker_engine.recipes.chat_format import ChatFormat
    from tinker_engine.recipes.chat_model import ChatModel

    started = time.monotonic()
    # An engine home may be in use by a server; looking must not wait for it, nor write into it.
    with tempfile.TemporaryDirectory() as folder:
        config = EngineConfig().model_copy(update={"home": Path(folder)})
        with open_engine(engine, base_model=base_model, config=config) as connection:
            where = f"{connection.kind} engine"
            if not connection.capabilities():
                yield Finding(
                    "engine",
                    "hint",
                    f"{connection.base_url} is another Tinker server: no privacy, no screening "
                    "of its adapters",
                    "use the embedded engine, or `tinker-engine serve`",
                )
                return
            base = base_info(connection)
            loaded = time.monotonic() - started
            fact = f"{base.name} ({base.architecture}), digest {base.digest[:16]}, {loaded:.1f} s"
            yield Finding("base", "ok", fact)
            service = connection.service_client
            model = ChatModel(
                service.create_sampling_client(base_model=base.name).result(),
                ChatFormat(load_tokenizer(connection)),
                base.name,
            )
            asked = time.monotonic()
            (answer,) = model.generate([[{"role": "user", "content": "Hello."}]], max_tokens=8)
            took = time.monotonic() - asked
            private = (
                "private training"
                if connection.capabilities().get("privacy")
                else ("no private training")
            )
            yield Finding(
                "engine",
                "ok",
                f"{where} answers ({len(answer)} characters, {took:.1f} s); {private}",
            )
