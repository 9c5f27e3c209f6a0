"""One user's day with the Tinker SDK, whatever its version: `python sdk_session.py BASE_MODEL`.

Needs TINKER_BASE_URL, TINKER_API_KEY and an environment with the SDK alone. Every step asserts what
a user relies on; the last line is JSON with what was done and the figures reached. SDKs differ in
whether a client is given at once or as a future, and in how a checkpoint is downloaded; the script
takes both ways, as code that must run on several versions does.
"""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import sys
import tarfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import httpx
import numpy as np
import tinker

TEXT = "Dear customer, the repair of your bicycle is done and it waits for you in the workshop."
OTHER = "Our shop is closed on Sunday; please call again on Monday morning at nine."
ADAM = tinker.AdamParams(learning_rate=4e-3)
STEPS = 12
HOUR_S = 3600


class Session:
    """The clients and data that the steps share, and the figures they leave."""

    def __init__(self, base_model: str) -> None:
        self.base_model = base_model
        self.service = tinker.ServiceClient()
        self.rest = self.service.create_rest_client()
        self.training = settled(
            self.service.create_lora_training_client(
                base_model, rank=8, seed=7, user_metadata={"purpose": "versions"}
            )
        )
        self.tokenizer = self.training.get_tokenizer()
        self.tokens: list[int] = self.tokenizer.encode(TEXT)
        self.data = [datum(self.tokens), datum(self.tokenizer.encode(OTHER))]
        self.prompt = tinker.ModelInput.from_ints(self.tokens)
        self.figures: dict[str, Any] = {}


def settled(value: Any) -> Any:
    """What a future holds; older SDKs give clients without one."""
    return value.result() if hasattr(value, "result") else value


def datum(tokens: list[int]) -> tinker.Datum:
    """Next-token prediction on the whole text."""
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": np.array(tokens[1:], np.int64),
            "weights": np.ones(len(tokens) - 1, np.float32),
        },
    )


def loss_of(client: Any, data: list[tinker.Datum]) -> float:
    return client.forward(data, "cross_entropy").result().metrics["loss:sum"]


def step(client: Any, data: list[tinker.Datum]) -> float:
    """One training step; gives the loss before it."""
    loss = client.forward_backward(data, "cross_entropy")
    update = client.optim_step(ADAM)
    update.result()
    return loss.result().metrics["loss:sum"]


def logprobs_of(sampler: Any, tokens: list[int]) -> np.ndarray:
    values = sampler.compute_logprobs(tinker.ModelInput.from_ints(tokens)).result()
    assert values[0] is None
    return np.array(values[1:])


def refusal(call: Callable[[], Any]) -> BaseException:
    """The error that a call ends in; a refusal must come at once, not after minutes of retries."""
    started = time.monotonic()
    caught: BaseException | None = None
    try:
        settled(call())
    except tinker.TinkerError as error:
        caught = error
    assert caught is not None, "the call was not refused"
    assert time.monotonic() - started < 20, f"{caught!r} took too long"
    return caught


def train(s: Session) -> None:
    offered = [m.model_name for m in s.service.get_server_capabilities().supported_models]
    assert offered, "the server offers no model"
    info = s.training.get_info()
    assert info.is_lora
    assert info.lora_rank == 8
    waiting = []
    for _ in range(STEPS):
        loss = s.training.forward_backward(s.data, "cross_entropy")
        waiting.append((loss, s.training.optim_step(ADAM)))
    losses = [loss.result().metrics["loss:sum"] for loss, done in waiting if done.result()]
    assert losses[-1] < 0.7 * losses[0], losses
    s.figures |= {"first_loss": losses[0], "last_loss": losses[-1]}


def logprobs(s: Session) -> None:
    sampler = settled(s.training.save_weights_and_get_sampling_client())
    forward = s.training.forward(s.data, "cross_entropy").result().loss_fn_outputs[0]["logprobs"]
    gap = float(np.abs(logprobs_of(sampler, s.tokens) - forward.to_numpy()).max())
    assert gap < 1e-4, gap
    s.figures["sampler_trainer_gap"] = gap


def sample(s: Session) -> None:
    sampler = settled(s.training.save_weights_and_get_sampling_client())
    base = settled(s.service.create_sampling_client(base_model=s.base_model))
    assert logprobs_of(sampler, s.tokens).sum() > logprobs_of(base, s.tokens).sum() + 10
    prompt = tinker.ModelInput.from_ints(s.tokens[:4])
    greedy = tinker.SamplingParams(max_tokens=6, temperature=0.0)
    first = sampler.sample(prompt, 2, greedy).result().sequences
    assert first[0].tokens == first[1].tokens
    assert len(first[0].tokens) == len(first[0].logprobs) == 6
    assert first[0].stop_reason == "length"
    free = tinker.SamplingParams(max_tokens=8, temperature=1.0, seed=11, stop=[])
    drawn = [sampler.sample(prompt, 1, free).result().sequences[0].tokens for _ in range(2)]
    assert drawn[0] == drawn[1]
    halt = tinker.SamplingParams(max_tokens=8, temperature=1.0, seed=11, stop=[drawn[0][2]])
    stopped = sampler.sample(prompt, 1, halt).result().sequences[0]
    assert stopped.stop_reason == "stop"
    assert stopped.tokens == drawn[0][: drawn[0].index(drawn[0][2]) + 1]
    scored = sampler.sample(
        s.prompt,
        1,
        tinker.SamplingParams(max_tokens=1),
        include_prompt_logprobs=True,
        topk_prompt_logprobs=3,
    ).result()
    np.testing.assert_allclose(scored.prompt_logprobs[1:], logprobs_of(sampler, s.tokens), 1e-4)
    assert len(scored.topk_prompt_logprobs[1]) == 3
    copy = pickle.loads(pickle.dumps(sampler))
    assert copy.sample(prompt, 1, greedy).result().sequences[0].tokens == first[0].tokens
    assert sampler.get_tokenizer().encode(TEXT) == s.tokens


def reinforce(s: Session) -> None:
    """One policy step: the sampled answer becomes likelier when its advantage is positive."""
    # A run of its own: the momentum of the training above would drown one step.
    policy = settled(s.service.create_lora_training_client(s.base_model, rank=4, seed=2))
    sampler = settled(policy.save_weights_and_get_sampling_client())
    prompt = s.tokens[:6]
    params = tinker.SamplingParams(max_tokens=5, temperature=1.0, seed=3)
    sequence = sampler.sample(tinker.ModelInput.from_ints(prompt), 1, params).result().sequences[0]
    blank, count = [0.0] * (len(prompt) - 1), len(sequence.tokens)
    rollout = tinker.Datum(
        model_input=tinker.ModelInput.from_ints([*prompt, *sequence.tokens[:-1]]),
        loss_fn_inputs={
            "target_tokens": np.array([*prompt[1:], *sequence.tokens], np.int64),
            "logprobs": np.array([*blank, *sequence.logprobs], np.float32),
            "advantages": np.array([*blank, *[1.0] * count], np.float32),
        },
    )
    # At the policy that sampled, every ratio is 1, so the loss is minus the sum of advantages.
    loss = policy.forward_backward([rollout], "importance_sampling").result()
    assert abs(loss.metrics["loss:sum"] + count) < 1e-2, loss.metrics
    policy.optim_step(tinker.AdamParams(learning_rate=1e-3)).result()
    after = policy.forward([rollout], "importance_sampling").result()
    assert after.metrics["loss:sum"] < loss.metrics["loss:sum"]
    ppo = policy.forward(
        [rollout], "ppo", {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1}
    ).result()
    assert np.isfinite(ppo.metrics["loss:sum"])


def resume(s: Session) -> None:
    state = s.training.save_state("middle").result().path
    on = [step(s.training, s.data) for _ in range(3)]
    twin = settled(s.service.create_training_client_from_state_with_optimizer(state))
    again = [step(twin, s.data) for _ in range(3)]
    gap = float(np.abs(np.array(on) - again).max())
    assert gap < 1e-4, (on, again)
    fresh = settled(s.service.create_training_client_from_state(state))
    assert abs(loss_of(fresh, s.data) - on[0]) < 1e-4
    fresh.load_state_with_optimizer(state).result()
    assert abs(step(fresh, s.data) - on[0]) < 1e-4
    s.figures["resume_gap"] = gap


def saved_sampler(s: Session) -> None:
    path = s.training.save_weights_for_sampler("answers").result().path
    direct = settled(s.training.create_sampling_client(path))
    opened = settled(s.service.create_sampling_client(model_path=path))
    live = settled(s.training.save_weights_and_get_sampling_client())
    for sampler in (direct, opened):
        np.testing.assert_allclose(
            logprobs_of(sampler, s.tokens), logprobs_of(live, s.tokens), atol=1e-5
        )


async def _async_forms(s: Session) -> None:
    client = await s.service.create_lora_training_client_async(s.base_model, rank=4, seed=1)
    losses = []
    for _ in range(3):
        loss = await client.forward_backward_async(s.data, "cross_entropy")
        update = await client.optim_step_async(ADAM)
        losses.append((await loss).metrics["loss:sum"])
        await update
    assert losses[-1] < losses[0], losses
    saved = await (await client.save_state_async("async"))
    for_sampler = await (await client.save_weights_for_sampler_async("async"))
    sampler = await s.service.create_sampling_client_async(model_path=for_sampler.path)
    params = tinker.SamplingParams(max_tokens=3, temperature=0.0)
    prompt = tinker.ModelInput.from_ints(s.tokens[:5])
    answers = await asyncio.gather(*[sampler.sample_async(prompt, 1, params) for _ in range(20)])
    assert len({tuple(a.sequences[0].tokens) for a in answers}) == 1
    scored = await sampler.compute_logprobs_async(s.prompt)
    assert len(scored) == len(s.tokens)
    info = await client.get_info_async()
    assert info.lora_rank == 4
    twin = await s.service.create_training_client_from_state_async(saved.path)
    again = await (await twin.forward_async(s.data, "cross_entropy"))
    assert again.metrics["loss:sum"] < losses[-1]
    other = await client.save_weights_and_get_sampling_client_async()
    assert (await other.sample_async(prompt, 1, params)).sequences[0].tokens
    await s.rest.delete_checkpoint_from_tinker_path_async(saved.path)


def async_forms(s: Session) -> None:
    asyncio.run(_async_forms(s))


def catalog(s: Session) -> None:
    run_id = s.training.model_id
    saved = {s.training.save_state(f"page-{i}").result().path for i in range(3)}
    seen: list[str] = []
    total = 1
    while len(seen) < total:
        page = s.rest.list_user_checkpoints(limit=2, offset=len(seen)).result()
        total = page.cursor.total_count
        seen += [c.tinker_path for c in page.checkpoints]
    assert saved <= set(seen)
    assert len(seen) == len(set(seen))
    listed = {c.tinker_path: c for c in s.rest.list_checkpoints(run_id).result().checkpoints}
    assert saved <= set(listed)
    assert all(c.size_bytes > 1000 for c in listed.values())
    run = s.rest.get_training_run(run_id).result()
    assert (run.lora_rank, run.user_metadata) == (8, {"purpose": "versions"})
    assert s.rest.get_training_run_by_tinker_path(min(saved)).result().training_run_id == run_id
    runs = s.rest.list_training_runs(limit=1000).result().training_runs
    assert run_id in [r.training_run_id for r in runs]
    session_id = run_id.partition(":")[0]
    assert run_id in s.rest.get_session(session_id).result().training_run_ids
    assert session_id in s.rest.list_sessions(limit=1000).result().sessions
    info = s.rest.get_weights_info_by_tinker_path(min(saved)).result()
    assert (info.is_lora, info.lora_rank) == (True, 8)


def life_of_a_checkpoint(s: Session) -> None:
    path = s.training.save_state("brief", ttl_seconds=HOUR_S).result().path

    def facts() -> Any:
        listed = s.rest.list_checkpoints(s.training.model_id).result().checkpoints
        return next(c for c in listed if c.tinker_path == path)

    before = facts()
    assert before.expires_at is not None
    s.rest.set_checkpoint_ttl_from_tinker_path(path, 2 * HOUR_S).result()
    moved = (facts().expires_at - before.expires_at).total_seconds()
    assert abs(moved - HOUR_S) < 60, moved
    s.rest.set_checkpoint_ttl_from_tinker_path(path, None).result()
    assert facts().expires_at is None
    s.rest.publish_checkpoint_from_tinker_path(path).result()
    assert facts().public
    s.rest.unpublish_checkpoint_from_tinker_path(path).result()
    assert not facts().public
    s.rest.delete_checkpoint_from_tinker_path(path).result()
    gone = refusal(lambda: s.rest.get_weights_info_by_tinker_path(path))
    assert isinstance(gone, tinker.NotFoundError), gone
    gone = refusal(lambda: s.service.create_training_client_from_state(path))
    assert isinstance(gone, tinker.NotFoundError), gone


def download(s: Session) -> None:
    path = s.training.save_weights_for_sampler("for-peft").result().path
    if hasattr(s.rest, "get_checkpoint_archive_url_from_tinker_path"):
        found = s.rest.get_checkpoint_archive_url_from_tinker_path(path).result()
        archive = httpx.get(found.url, trust_env=False).raise_for_status().content
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            sizes = {member.name: member.size for member in files.getmembers()}
    else:
        path = s.training.save_weights_external("for-peft").result().path
        urls = s.rest.get_external_weights_urls(path).result().urls
        sizes = {
            name: len(httpx.get(url, trust_env=False).raise_for_status().content)
            for name, url in urls.items()
        }
    assert sizes["adapter_config.json"] > 100
    assert sizes["adapter_model.safetensors"] > 10_000


def refusals(s: Session) -> None:
    """Wrong calls end at once in an error that says what to do, and hurt nothing else."""
    error = refusal(lambda: s.service.create_lora_training_client("no/such-model", rank=4))
    assert isinstance(error, tinker.NotFoundError), error
    assert s.service.get_server_capabilities().supported_models[0].model_name in str(error)
    error = refusal(lambda: s.service.create_lora_training_client(s.base_model, rank=100_000))
    assert "rank" in str(error)
    error = refusal(lambda: s.training.save_state("a/b c"))
    assert "a/b c" in str(error)
    long = tinker.ModelInput.from_ints([5] * 100_000)
    base = settled(s.service.create_sampling_client(base_model=s.base_model))
    error = refusal(lambda: base.sample(long, 1, tinker.SamplingParams(max_tokens=1)))
    assert "100000 tokens" in str(error)
    error = refusal(lambda: s.training.forward_backward([datum([10**7, 5, 6])], "cross_entropy"))
    assert "10000000" in str(error)
    error = refusal(lambda: settled(s.training.forward_backward(s.data, "no_such_loss")))
    assert "no_such_loss" in str(error)
    assert loss_of(s.training, s.data) > 0


def custom_loss(s: Session) -> None:
    """A loss computed on the client; SDKs need torch for it, so it runs where torch is."""
    try:
        import torch
    except ImportError:
        s.figures["custom_loss"] = "not run: this environment has no torch"
        return

    def squared(_data: Any, logprobs: list[torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        loss = sum((part**2).sum() for part in logprobs)
        assert isinstance(loss, torch.Tensor)
        return loss, {"squared": float(loss)}

    values = []
    for _ in range(3):
        done = s.training.forward_backward_custom(s.data, squared).result()
        s.training.optim_step(tinker.AdamParams(learning_rate=1e-3)).result()
        values.append(done.metrics["squared"])
    assert values[-1] < values[0], values
    s.figures["custom_loss"] = values


def main(base_model: str) -> None:
    """Run every step and print what came of it."""
    warnings.simplefilter("ignore")
    session = Session(base_model)
    done = []
    for part in (
        train,
        logprobs,
        sample,
        reinforce,
        resume,
        saved_sampler,
        async_forms,
        catalog,
        life_of_a_checkpoint,
        download,
        refusals,
        custom_loss,
    ):
        started = time.monotonic()
        part(session)
        done.append(part.__name__)
        print(f"{part.__name__:<22} {time.monotonic() - started:6.2f} s", flush=True)
    print(json.dumps({"sdk": version("tinker"), "steps": done, **session.figures}))


if __name__ == "__main__":
    main(sys.argv[1])
