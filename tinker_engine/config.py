"""The one configuration of the engine: fields, environment variables and defaults.

Every field can be given as `TINKER_ENGINE_<FIELD>` in the environment or in code; the command line
has the same names. Unknown fields are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tinker_engine.runtime.callers import Limits


class EngineConfig(BaseSettings):
    """Settings of one engine process; frozen, so that what was started stays what it says."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="TINKER_ENGINE_", env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=lambda: Path.home() / ".tinker-engine",
        description="Folder of database, runs, checkpoints and ledgers.",
    )
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL; SQLite under the home by default."
    )
    base_model: str = Field(
        default="nano", description="`nano`, a folder, a hub id, or an alias of one of them."
    )
    aliases: Path | None = Field(
        default=None,
        description="TOML file of `name = target` lines; `aliases.toml` under the home by default.",
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of the numerics; None leaves torch's choice."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="Arithmetic of the frozen base; auto decides by measurement."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto",
        description="Where the base model lives; this version computes on the CPU alone.",
    )
    microbatch_tokens: int | None = Field(
        default=None,
        ge=16,
        description="Tokens per training microbatch; None lets the backend choose.",
    )
    activation_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Memory for values that a training pass keeps for its way back; longer "
        "sequences compute them again. None: a quarter of the machine's memory.",
    )
    sample_batch: int = Field(
        default=512, ge=1, description="Most sampling requests in the running batch at a time."
    )
    sample_memory_bytes: int = Field(
        default=2 * 1024 * 1024 * 1024,
        ge=1024 * 1024,
        description="Keys and values of running sampling requests; what needs more has to wait.",
    )
    prefix_memory_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=0,
        description="Keys and values of recent prompts, for requests that begin alike; 0: none.",
    )
    host: str = Field(default="127.0.0.1", description="Address the server listens on.")
    port: int = Field(default=8200, ge=0, le=65535, description="Port; 0 takes a free one.")
    api_key: SecretStr | None = Field(
        default=None, description="Key that clients must send; it starts with `tml-`."
    )
    max_runs: int | None = Field(
        default=None, ge=1, description="Runs that one key may have in memory; None is no limit."
    )
    max_tokens_in_flight: int | None = Field(
        default=None,
        ge=1,
        description="Tokens of one key's unfinished requests together; None is no limit.",
    )
    max_disk_bytes: int | None = Field(
        default=None, ge=1, description="Disk space of one key's checkpoints; None is no limit."
    )
    metrics_open: bool = Field(
        default=False, description="Answer /metrics without a key; only on a loopback address."
    )
    log_format: Literal["human", "json"] = Field(
        default="human", description="Log lines for people, or one JSON object each."
    )
    log_level: Literal["debug", "info", "warning"] = Field(
        default="info", description="Least important lines that are logged."
    )
    max_body_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024, description="Largest request body, after decompression."
    )
    result_memory_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024 * 1024,
        description="Results already fetched once that are kept in memory for a repeated fetch.",
    )

    deterministic: bool = Field(
        default=False,
        description="Every training request is computed alone: equal ones give equal bits; on one "
        "thread unless `threads` says more.",
    )
    memory_limit_bytes: int | None = Field(
        default=None,
        ge=1024 * 1024,
        description="Memory this process may use; requests that need more are refused. None: all.",
    )
    recovery: bool = Field(
        default=True,
        description="A served engine keeps runs over a restart; an embedded one never does.",
    )

    @property
    def limits(self) -> Limits:
        """What each key may use, unless the key has limits of its own."""
        return Limits(self.max_runs, self.max_tokens_in_flight, self.max_disk_bytes)

    @property
    def resolved_database_url(self) -> str:
        """The database that is used: the given URL, or SQLite under the home."""
        return self.database_url or f"sqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """Where the database is when no URL is given."""
        return self.home / "engine.sqlite3"

    @property
    def runs_dir(self) -> Path:
        """Folder that holds one folder per run (checkpoints and ledger)."""
        return self.home / "runs"

    @property
    def aliases_file(self) -> Path:
        """The alias file that is read when it exists."""
        return self.aliases or self.home / "aliases.toml"
