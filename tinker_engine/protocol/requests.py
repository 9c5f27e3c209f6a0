"""Bodies of the requests, as the SDK sends them.

Unknown fields are ignored, because newer clients send more; fields that would change the result
and are not served yet are declared here, so that the runtime can refuse them with advice instead
of answering something else than was asked for.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

SequenceId = Annotated[int, Field(ge=0, lt=2**63)]


class Wire(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=(), frozen=True)


class ClientConfigBody(Wire):
    """`client/config` and `client/dynamic_config`."""

    sdk_version: str = ""


class CreateSessionBody(Wire):
    """`create_session`."""

    tags: list[str] = Field(default_factory=list)
    user_metadata: dict[str, Any] | None = None
    sdk_version: str = ""
    project_id: str | None = None
    display_name: str | None = None


class SessionBody(Wire):
    """`session_heartbeat`."""

    session_id: str


class FinishSessionBody(Wire):
    """`sessions/{id}/finish`."""

    reason: dict[str, Any] = Field(default_factory=dict)
    detail: str | None = None


class LoraConfigBody(Wire):
    """LoRA shape inside `create_model`."""

    rank: int
    seed: int | None = None
    train_unembed: bool = True
    train_mlp: bool = True
    train_attn: bool = True


class OptimizerConfigBody(Wire):
    """Which optimizer family a run uses."""

    type: str = "adamw"


class CreateModelBody(Wire):
    """`create_model`."""

    session_id: str
    model_seq_id: Annotated[int, Field(ge=0, lt=10**9)]
    base_model: str
    user_metadata: dict[str, Any] | None = None
    lora_config: LoraConfigBody | None = None
    optimizer_config: OptimizerConfigBody = OptimizerConfigBody()


class ModelBody(Wire):
    """`get_info` and `unload_model`."""

    model_id: str


class AdamBody(Wire):
    """AdamW hyperparameters of one step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    eps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-12
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    grad_clip_norm: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class OptimStepBody(Wire):
    """`optim_step`; `optimizer_params` is what newer SDKs send for optimizers other than Adam."""

    model_id: str
    seq_id: SequenceId | None = None
    adam_params: AdamBody | None = Field(
        default=None, validation_alias=AliasChoices("adam_params", "optim_params")
    )
    optimizer_params: dict[str, Any] | None = None


class SaveWeightsBody(Wire):
    """`save_weights`."""

    model_id: str
    path: str | None = None
    seq_id: SequenceId | None = None
    ttl_seconds: int | None = None
    overwrite: bool = False
    user_metadata: dict[str, str] | None = None


class SaveForSamplerBody(Wire):
    """`save_weights_for_sampler`: named, or (without `path`) for one sampling session."""

    model_id: str
    path: str | None = None
    sampling_session_seq_id: SequenceId | None = None
    kind: Literal["snapshot", "inflight"] = "snapshot"
    seq_id: SequenceId | None = None
    ttl_seconds: int | None = None
    user_metadata: dict[str, str] | None = None


class SaveExternalBody(Wire):
    """`save_weights_external`: PEFT files for download."""

    model_id: str
    path: str
    seq_id: SequenceId | None = None
    ttl_seconds: int | None = None
    age_encryption_recipients: list[str] | None = None


class CopyWeightsBody(Wire):
    """`copy_weights`: to a project, or to a place within a session."""

    source_path: str
    session_id: str | None = None
    model_seq_id: Annotated[int, Field(ge=0, lt=10**9)] | None = None
    destination_project_id: str | None = None
    ttl_seconds: int | None = None


class LoadWeightsBody(Wire):
    """`load_weights`: into a run (model_id), or as a new run (session_id and model_seq_id)."""

    model_id: str | None = None
    seq_id: SequenceId | None = None
    session_id: str | None = None
    model_seq_id: Annotated[int, Field(ge=0, lt=10**9)] | None = None
    base_model: str | None = None
    user_metadata: dict[str, Any] | None = None
    path: str
    optimizer: bool = False
    optimizer_config: OptimizerConfigBody | None = None
    weights_access_token: str | None = None


class CreateSamplingSessionBody(Wire):
    """`create_sampling_session`."""

    session_id: str
    sampling_session_seq_id: SequenceId
    base_model: str | None = None
    model_path: str | None = None


class JoinSamplingSessionBody(Wire):
    """`join_sampling_session`."""

    sampling_session_id: str


class ChunkBody(Wire):
    """One chunk of a prompt; only `encoded_text` is served."""

    type: str = "encoded_text"
    tokens: list[int] = Field(default_factory=list)


class ModelInputBody(Wire):
    """A prompt as chunks."""

    chunks: list[ChunkBody]


class SamplingParamsBody(Wire):
    """How to sample; `stop` None keeps the end-of-text stop, [] switches every stop off."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None
    stop: str | list[int] | list[str] | None = None
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    top_k: int = -1
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0

    @field_validator("top_k")
    @classmethod
    def _check_top_k(cls, value: int) -> int:
        if value == 0 or value < -1:
            raise ValueError("top_k is -1 (no limit) or at least 1")
        return value


class SampleBody(Wire):
    """`asample`."""

    num_samples: Annotated[int, Field(ge=1, le=1024)] = 1
    prompt: ModelInputBody
    sampling_params: SamplingParamsBody = SamplingParamsBody()
    base_model: str | None = None
    model_path: str | None = None
    sampling_session_id: str | None = None
    seq_id: SequenceId | None = None
    prompt_logprobs: bool | None = None
    topk_prompt_logprobs: Annotated[int, Field(ge=0, le=128)] = 0
    topk_sample_logprobs: Annotated[int, Field(ge=0, le=128)] = 0
    target_prompt_logprobs: dict[str, Any] | None = None
    prompt_alt_tokens_k: Annotated[int, Field(ge=0, le=128)] = 0
    prompt_logprobs_last_n: Annotated[int, Field(ge=1)] | None = None
    record_stability_info: bool | None = None


class RetrieveFutureBody(Wire):
    """`retrieve_future`."""

    request_id: str
    allow_metadata_only: bool = False


class FuturesTargetBody(Wire):
    """Which sampling session (and which clone of its client) is polled."""

    type: str = "sampling_session"
    sampling_session_id: str
    cloned_sampler_id: int = 0


class RetrieveFuturesBody(Wire):
    """`retrieve_futures`: completions of one sampling session after a cursor."""

    target: FuturesTargetBody
    prev_cursor: Annotated[int, Field(ge=0)] = 0
    timeout: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    retrieved_request_ids: list[str] = Field(default_factory=list)


class CancelBody(Wire):
    """`cancel_future`."""

    request_id: str


class WeightsInfoBody(Wire):
    """`weights_info`."""

    tinker_path: str


class TtlBody(Wire):
    """`checkpoints/{id}/ttl`."""

    ttl_seconds: int | None = None
