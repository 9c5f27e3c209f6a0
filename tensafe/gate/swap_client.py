"""A host of slots in another process, over its control API."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tensafe import errors
from tensafe.data.records import Example
from tensafe.errors import DataError, TensafeError, UsageError
from tensafe.files import read_private
from tensafe.gate.live_quality import LiveVerdict
from tensafe.gate.swap_records import Otherwise, SlotSettings, SwapKind, SwapPolicy, SwapRecord
from tensafe.tgsp.canonical import JSONFormError, parse

CONTROL_FILE = "control.json"
_TIMEOUT_S = 600.0
# A red team of a large base takes its time.
_LONG_TIMEOUT_S = 4 * 3600.0
_POLL_S = 25.0


class SwapClient:
    """A `SwapService` that asks a host; its errors are raised here as what they were there."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._key = key

    @staticmethod
    def of_home(home: Path | None = None) -> SwapClient:
        """The host that wrote `control.json` under a tensafe home (default: the user's).

        TENSAFE_CONTROL_URL, with TENSAFE_CONTROL_KEY, names one elsewhere.

        Raises:
            UsageError: no host was started there.
            KeyStoreError: the file is open to others.
        """
        from tensafe.gate.swap_host import swaps_home

        if home is None and (url := os.environ.get("TENSAFE_CONTROL_URL")):
            key = os.environ.get("TENSAFE_CONTROL_KEY", "")
            if not key:
                raise UsageError(f"set TENSAFE_CONTROL_KEY to the control key of {url}")
            return SwapClient(url, key)
        path = swaps_home(home) / CONTROL_FILE
        try:
            control = parse(read_private(path))
            return SwapClient(str(control["url"]), str(control["key"]))
        except FileNotFoundError as error:
            raise UsageError(
                f"no host of slots runs here ({path} is absent); start one with `tensafe serve`"
            ) from error
        except (JSONFormError, KeyError) as error:
            raise DataError(f"{path} is not what a host writes: {error}") from error

    def create_slot(
        self,
        name: str,
        *,
        held_out: Sequence[Example],
        safety_prompts: Sequence[str] | None = None,
        policy: SwapPolicy | None = None,
        by: str,
    ) -> SlotSettings:
        """Set up a slot, or change how one is judged; what isn't given stays."""
        body = {
            "held_out": [
                {"messages": e.messages, "source": e.source, "place": e.place} for e in held_out
            ],
            "safety_prompts": None if safety_prompts is None else list(safety_prompts),
            "policy": None if policy is None else policy.model_dump(mode="json"),
            "by": by,
        }
        return SlotSettings.model_validate(self._json("PUT", f"/v1/slots/{_part(name)}", body))

    def request(
        self,
        slot: str,
        packages: Sequence[Path],
        *,
        kind: SwapKind = "linear",
        otherwise: Otherwise = "first",
        by: str,
        reason: str = "",
    ) -> SwapRecord:
        """Upload the packages and ask for the change."""
        digests = [self._upload(path) for path in packages]
        body = {
            "slot": slot, "packages": digests, "kind": kind, "otherwise": otherwise,
            "by": by, "reason": reason,
        }  # fmt: skip
        return SwapRecord.model_validate(self._json("POST", "/v1/swaps", body))

    def wait(self, swap_id: str, timeout_s: float | None = None) -> SwapRecord:
        """Wait until a swap is decided or waits for a human."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = _POLL_S if until is None else min(_POLL_S, until - time.monotonic())
            route = f"/v1/swaps/{_part(swap_id)}?wait_s={max(0.0, left):.3f}"
            record = SwapRecord.model_validate(self._json("GET", route))
            is_settled = record.is_final or record.state == "awaiting_approval"
            if is_settled or (until is not None and time.monotonic() >= until):
                return record

    def status(self, swap_id: str) -> SwapRecord:
        """Where a swap stands."""
        return SwapRecord.model_validate(self._json("GET", f"/v1/swaps/{_part(swap_id)}"))

    def swaps(self, slot: str | None = None) -> list[SwapRecord]:
        """All swaps, or those of one slot, oldest first."""
        route = "/v1/swaps" if slot is None else f"/v1/swaps?slot={_part(slot)}"
        return [SwapRecord.model_validate(row) for row in self._json("GET", route)["swaps"]]

    def decide(self, swap_id: str, document: bytes) -> SwapRecord:
        """Hand in a signed verdict."""
        route = f"/v1/swaps/{_part(swap_id)}/decision"
        return SwapRecord.model_validate(self._call("POST", route, content=document))

    def roll_back(self, slot: str, *, by: str, reason: str) -> SwapRecord:
        """Undo a slot's last swap."""
        route = f"/v1/slots/{_part(slot)}/rollback"
        return SwapRecord.model_validate(self._json("POST", route, {"by": by, "reason": reason}))

    def score(self, slot: str, digest: str, score: float) -> LiveVerdict:
        """Tell the score of one live answer."""
        body = {"digest": digest, "score": score}
        return LiveVerdict(**self._json("POST", f"/v1/slots/{_part(slot)}/scores", body))

    def slots(self) -> list[dict[str, Any]]:
        """Every slot."""
        return cast("list[dict[str, Any]]", self._json("GET", "/v1/slots")["slots"])

    def slot(self, name: str) -> dict[str, Any]:
        """One slot with its live quality."""
        return self._json("GET", f"/v1/slots/{_part(name)}")

    def reproduce(self, swap_id: str) -> dict[str, Any]:
        """Examine a decided swap again."""
        route = f"/v1/swaps/{_part(swap_id)}/reproduce"
        return self._call("POST", route, content=b"{}", timeout_s=_LONG_TIMEOUT_S)

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents, oldest first."""
        return cast("list[dict[str, Any]]", self._json("GET", "/v1/incidents")["incidents"])

    def _upload(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                return str(self._call("PUT", "/v1/packages", content=file)["digest"])
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error

    def _json(self, method: str, route: str, body: object = None) -> dict[str, Any]:
        import json

        content = None if body is None else json.dumps(body).encode("utf-8")
        return self._call(method, route, content=content)

    def _call(
        self, method: str, route: str, *, content: Any = None, timeout_s: float = _TIMEOUT_S
    ) -> dict[str, Any]:
        import httpx

        try:
            answer = httpx.request(
                method,
                self.url + route,
                headers={"Authorization": f"Bearer {self._key}"},
                content=content,
                timeout=timeout_s,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise TensafeError(
                f"the host of slots at {self.url} does not answer ({error}); is `tensafe serve` "
                "running?"
            ) from error
        if answer.is_success:
            return cast("dict[str, Any]", answer.json())
        try:
            refused = answer.json()["error"]
            kind, message = str(refused["kind"]), str(refused["message"])
        except (ValueError, KeyError, TypeError):
            kind, message = "TensafeError", f"{self.url}{route} answered {answer.status_code}"
        found = getattr(errors, kind, TensafeError)
        is_ours = isinstance(found, type) and issubclass(found, TensafeError)
        raise (found if is_ours else TensafeError)(message)


def _part(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
