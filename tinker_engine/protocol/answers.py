"""What the routes answer, as models for the OpenAPI document.

The routes write plain dictionaries; `make evidence NAME=fuzz-wire` compares them with these.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of all answers: what is not declared is not answered."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ErrorAnswer(Answer):
    """Every refusal; `category` says whose turn it is to change something."""

    error: str
    detail: str
    category: Literal["user", "server"]


class Nothing(Answer):
    """An empty object."""


class Health(Answer):
    """`healthz`."""

    status: Literal["ok"]


class Accepted(Answer):
    """`telemetry`."""

    status: Literal["accepted"]


class Submitted(Answer):
    """A request was taken; its result comes from `retrieve_future`."""

    request_id: str
    model_id: str


class SampleSubmitted(Answer):
    """A sampling request was taken."""

    request_id: str
    sample_sequence_ids: list[str]


class TryAgain(Answer):
    """The request is not finished yet."""

    type: Literal["try_again"]
    request_id: str
    queue_state: str


class Completions(Answer):
    """Finished requests of a sampling session after a cursor."""

    completions: list[dict[str, Any]]
    cursor: int


class SessionCreated(Answer):
    """`create_session`."""

    type: Literal["create_session"]
    session_id: str


class HeartbeatTaken(Answer):
    """`session_heartbeat`."""

    type: Literal["session_heartbeat"]


class SessionList(Answer):
    """`sessions`."""

    sessions: list[str]


class SessionFacts(Answer):
    """`sessions/{id}`."""

    training_run_ids: list[str]
    sampler_ids: list[str]
    user_metadata: dict[str, Any] | None
    display_name: str | None


class SamplingSessionCreated(Answer):
    """`create_sampling_session`."""

    type: Literal["create_sampling_session"]
    sampling_session_id: str


class SamplingSessionJoined(Answer):
    """`join_sampling_session`."""

    type: Literal["join_sampling_session"]
    client_counter: int


class SamplerFacts(Answer):
    """`samplers/{id}`."""

    sampler_id: str
    base_model: str
    model_path: str | None


class ModelData(Answer):
    """Which model a run trains, and where its tokenizer is."""

    arch: str
    model_name: str
    tokenizer_id: str


class RunInfo(Answer):
    """`get_info`."""

    type: Literal["get_info"]
    model_id: str
    model_name: str
    is_lora: bool
    lora_rank: int
    model_data: ModelData


class CheckpointFacts(Answer):
    """One checkpoint; times are ISO 8601."""

    checkpoint_id: str
    checkpoint_type: Literal["training", "sampler", "external"]
    time: str
    tinker_path: str
    size_bytes: int
    public: bool
    user_metadata: dict[str, Any] | None
    expires_at: str | None


class Cursor(Answer):
    """Where a page lies in its list."""

    offset: int
    limit: int
    total_count: int


class CheckpointPage(Answer):
    """`checkpoints`."""

    checkpoints: list[CheckpointFacts]
    cursor: Cursor


class CheckpointList(Answer):
    """`training_runs/{id}/checkpoints`."""

    checkpoints: list[CheckpointFacts]


class RunFacts(Answer):
    """One training run."""

    training_run_id: str
    base_model: str
    model_owner: str
    is_lora: bool
    lora_rank: int
    last_request_time: str
    last_checkpoint: CheckpointFacts | None
    last_sampler_checkpoint: CheckpointFacts | None
    user_metadata: dict[str, Any] | None


class RunPage(Answer):
    """`training_runs`."""

    training_runs: list[RunFacts]
    cursor: Cursor


class WeightsInfo(Answer):
    """`weights_info`."""

    base_model: str
    is_lora: bool
    lora_rank: int
    train_attn: bool
    train_mlp: bool
    train_unembed: bool


class Copied(Answer):
    """`copy_weights`."""

    tinker_path: str


class Link(Answer):
    """`archive`: where the files are, until when."""

    url: str
    expires: str


class Links(Answer):
    """`external_weights_urls`."""

    urls: dict[str, str]
    expires: str


class UploadedAdapter(Answer):
    """`engine/adapters`."""

    path: str


class FileDigest(Answer):
    """Hex SHA-256 and size in bytes."""

    sha256: str
    size: int


class AdapterFiles(Answer):
    """`engine/runs/.../files`."""

    files: dict[str, FileDigest]


class KeyUsage(Answer):
    """What the caller's key uses, and its limits (None is no limit)."""

    id: str
    runs_loaded: int
    sampling_sessions: int
    tokens_in_flight: int
    disk_bytes: int
    max_runs: int | None
    max_tokens_in_flight: int | None
    max_disk_bytes: int | None


class EngineStatus(Answer):
    """`engine/status`; `home` is told to the server's own key only."""

    version: str
    base_model: str
    uptime_s: float
    runs_loaded: int
    sampling_sessions: int
    requests_waiting: int
    tokens_in_flight: int
    memory_bytes: int | None
    disk_free_bytes: int
    key: KeyUsage
    sampling_rows: int
    prefix_bytes: int
    prefix_tokens_reused: int
    largest_logprob_gap: float | None
    home: str | None = None
