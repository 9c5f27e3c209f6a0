"""Privacy as it travels over the wire: policy in, facts out, refusals typed."""

from __future__ import annotations

import pytest
import tinker

from tinker_engine.connect import Connection, require_privacy, run_privacy
from tinker_engine.errors import NotFoundError, PrivacyPolicyError, RequestError
from tinker_engine.protocol.metadata import LoraFlags, parse_run_spec

FLAGS = LoraFlags(rank=4, seed=1, train_mlp=True, train_attn=True, train_unembed=False)
PRIVATE = {
    "dp_clip_norm": "0.5",
    "dp_sampling_rate": "0.25",
    "dp_expected_batch_size": "2",
    "dp_delta": "1e-5",
    "dp_target_epsilon": "3",
    "dp_steps": "4",
}
DATUM = tinker.Datum(
    model_input=tinker.ModelInput.from_ints([5, 6, 7, 8]),
    loss_fn_inputs={"target_tokens": [6, 7, 8, 9], "weights": [1.0] * 4},
)


def test_plain_metadata() -> None:
    spec = parse_run_spec(FLAGS, {"team": "a", "lora_alpha": "64", "lora_train": "B"})
    assert (spec.alpha, spec.lora_train, spec.privacy) == (64.0, "B", None)
    assert spec.labels == {"team": "a"}
    assert spec.targets[:2] == ("q_proj", "k_proj")
    assert "lm_head" not in spec.targets
    named = parse_run_spec(FLAGS, {"target_modules": '["v_proj", "v_proj"]'})
    assert named.targets == ("v_proj",)


def test_policy_is_read_whole() -> None:
    policy = parse_run_spec(FLAGS, PRIVATE).privacy
    assert policy is not None
    assert (policy.clip_norm, policy.sampling_rate, policy.delta) == (0.5, 0.25, 1e-5)
    assert (policy.target_epsilon, policy.planned_steps, policy.max_epsilon) == (3.0, 4, 3.0)
    assert policy.noise_multiplier is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"dp_clip_norm": None}, "dp_clip_norm"),
        ({"dp_clip_norm": "nan"}, "finite"),
        ({"dp_clip_norm": "0"}, "more than 0"),
        ({"dp_sampling_rate": "1.5"}, "at most 1"),
        ({"dp_delta": "1"}, "less than 1"),
        ({"dp_noise_multiplier": "1"}, "exactly one"),
        ({"dp_target_epsilon": None}, "exactly one"),
        ({"dp_steps": None}, "dp_steps"),
        ({"dp_steps": "2.5"}, "whole number"),
        ({"dp_epsilon": "8"}, "unknown privacy key"),
        ({"dp_max_epsilon": "-1"}, "more than 0"),
    ],
)
def test_bad_policies_name_the_key(change: dict[str, str | None], expected: str) -> None:
    merged = {k: v for k, v in {**PRIVATE, **change}.items() if v is not None}
    with pytest.raises(PrivacyPolicyError, match=expected):
        parse_run_spec(FLAGS, merged)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"lora_rank": "8"}, "lora_rank"),
        ({"lora_alpha": "-1"}, "lora_alpha"),
        ({"lora_train": "A"}, "both, B"),
        ({"precision": "fp8"}, "auto, fp32, bf16"),
        ({"target_modules": "q_proj"}, "JSON list"),
        ({"target_modules": "[]"}, "at least one"),
        ({"target_modules": "[1]"}, "module names"),
        ({"team": 3}, "strings"),
    ],
)
def test_bad_lora_keys_name_the_key(metadata: dict[str, str], expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        parse_run_spec(FLAGS, metadata)


def test_sdk_sees_parse_errors_at_once(connection: Connection) -> None:
    service = connection.service_client
    with pytest.raises(tinker.BadRequestError, match="dp_typo"):
        service.create_lora_training_client("nano", user_metadata={"dp_typo": "1"}).result()


def test_private_run_reports_what_it_spends(connection: Connection) -> None:
    require_privacy(connection)
    client = connection.service_client.create_lora_training_client(
        "nano", rank=4, seed=2, train_unembed=False, user_metadata=PRIVATE
    ).result()
    spent: list[float] = []
    for _ in range(2):
        client.forward_backward([DATUM, DATUM], "cross_entropy").result()
        metrics = client.optim_step(tinker.AdamParams(learning_rate=1e-3)).result().metrics
        assert metrics is not None
        spent.append(metrics["privacy:epsilon"])
        assert metrics["privacy:noise_multiplier"] > 0
    assert 0 < spent[0] < spent[1] <= 3
    record = run_privacy(connection.service_client, client.model_id)
    assert record.steps == 2
    assert record.epsilon == pytest.approx(spent[1])
    assert record.lora_train == "both"
    with pytest.raises(tinker.BadRequestError, match="privacy policy"):
        connection.service_client.create_training_client_from_state(
            client.save_state("private").result().path, user_metadata=PRIVATE
        ).result()


def test_refused_past_the_budget(connection: Connection) -> None:
    metadata = {k: v for k, v in PRIVATE.items() if k not in ("dp_target_epsilon", "dp_steps")}
    metadata |= {"dp_noise_multiplier": "0.5", "dp_max_epsilon": "0.1"}
    client = connection.service_client.create_lora_training_client(
        "nano", rank=2, seed=2, train_unembed=False, user_metadata=metadata
    ).result()
    client.forward_backward([DATUM], "cross_entropy").result()
    with pytest.raises(tinker.RequestFailedError, match=r"budget|epsilon"):
        client.optim_step(tinker.AdamParams(learning_rate=1e-3)).result()


def test_run_without_privacy_has_no_record(connection: Connection) -> None:
    client = connection.service_client.create_lora_training_client(
        "nano", rank=2, train_unembed=False
    ).result()
    with pytest.raises(NotFoundError, match="no privacy policy"):
        run_privacy(connection, client.model_id)
