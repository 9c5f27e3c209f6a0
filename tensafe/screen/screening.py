"""RVUv2: six layers over one adapter, each ending in a verdict.

A layer that can't be built, asked or judged fails with its reason; none is ever skipped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tensafe.data.records import Dataset
from tensafe.errors import ScreeningError
from tensafe.evaluate.model import AnsweringModel
from tensafe.screen.adapter_weights import read_weights
from tensafe.screen.allowlist import allowlist
from tensafe.screen.asking import BehaviourLayer, Replies, ask
from tensafe.screen.bias import BiasLayer
from tensafe.screen.config import ScreenConfig
from tensafe.screen.ip import IpLayer
from tensafe.screen.judge import AlsoRated
from tensafe.screen.ood import mahalanobis_ood
from tensafe.screen.records import (
    BEHAVIOUR_LAYERS,
    WEIGHT_LAYERS,
    LayerName,
    LayerResult,
    ScreenReport,
    combined,
    failed,
)
from tensafe.screen.reference import load_reference
from tensafe.screen.spectrum import svd_analysis
from tensafe.screen.suites import Suites, load_suites
from tensafe.screen.tone import ToneSignal
from tensafe.screen.toxicity import ToxicityLayer
from tensafe.screen.user_bias import UserBiasLayer
from tensafe.screen.user_suites import UserSuite

_log = logging.getLogger(__name__)


def screen_adapter(
    adapter: AnsweringModel,
    base: AnsweringModel,
    adapter_dir: Path,
    dataset: Dataset | None,
    config: ScreenConfig | None = None,
    *,
    signal: ToneSignal | None = None,
    user_suites: Sequence[UserSuite] = (),
) -> ScreenReport:
    """Screen an adapter's behaviour against its base, and its weights against the population.

    Args:
        adapter: the model with the adapter.
        base: the same base without it.
        adapter_dir: PEFT folder with `adapter_config.json` and `adapter_model.safetensors`.
        dataset: what it was trained on; None fails the IP layer unless the config declares that
            no training data exists here.
        config: limits; the defaults are those of a release.
        signal: a further judge of abuse; layers that use one have to pass without it and with it.
        user_suites: asked beside the built-in suites, each with checks of its own.

    Raises nothing for a bad adapter: what goes wrong in a layer is that layer's failure.
    """
    config = config or ScreenConfig()
    behaviour, suites = _behaviour(adapter, base, dataset, config, signal, user_suites)
    weights, digest, reference_digest = screen_weights(adapter_dir, config)
    return ScreenReport(
        adapter_digest=digest,
        train_digest=dataset.train_digest if dataset else "",
        config=config.model_dump(mode="json"),
        suites=suites,
        reference_digest=reference_digest,
        layers=(*behaviour, *weights),
    )


def screen_weights(adapter_dir: Path, config: ScreenConfig) -> tuple[list[LayerResult], str, str]:
    """The three weight layers, the adapter's digest and the reference's ("" where unknown)."""
    try:
        weights = read_weights(adapter_dir)
    except ScreeningError as error:
        return [failed(name, str(error)) for name in WEIGHT_LAYERS], "", ""
    results = [_guarded("allowlist", lambda: allowlist(weights, config))]
    try:
        reference, reference_digest = load_reference(config.weights.reference)
    except ScreeningError as error:
        results.extend(failed(name, str(error)) for name in WEIGHT_LAYERS[1:])
        return results, weights.digest, ""
    results.append(_guarded("svd_analysis", lambda: svd_analysis(weights, reference, config)))
    results.append(_guarded("mahalanobis_ood", lambda: mahalanobis_ood(weights, reference, config)))
    return results, weights.digest, reference_digest


class _Part(NamedTuple):
    """One layer's share that comes from one suite; `suite` is "" for the built-in ones."""

    name: LayerName
    suite: str
    build: Callable[[], BehaviourLayer]


def _behaviour(
    adapter: AnsweringModel,
    base: AnsweringModel,
    dataset: Dataset | None,
    config: ScreenConfig,
    signal: ToneSignal | None,
    user_suites: Sequence[UserSuite],
) -> tuple[list[LayerResult], dict[str, str]]:
    try:
        suites = load_suites()
    except ScreeningError as error:
        return [failed(name, str(error)) for name in BEHAVIOUR_LAYERS], {}
    digests = {**suites.digests, **{f"user:{suite.name}": suite.digest for suite in user_suites}}
    parts = [
        *_built_in(suites, dataset, config, signal),
        *_users(suites, user_suites, config, signal),
    ]
    results = _results(parts, adapter, base, config)
    by_layer = [
        [
            (part.suite, result)
            for part, result in zip(parts, results, strict=True)
            if part.name == n
        ]
        for n in BEHAVIOUR_LAYERS
    ]
    merged = [
        combined(name, found, shown=config.shown_findings)
        for name, found in zip(BEHAVIOUR_LAYERS, by_layer, strict=True)
    ]
    return merged, digests


def _results(
    parts: Sequence[_Part], adapter: AnsweringModel, base: AnsweringModel, config: ScreenConfig
) -> list[LayerResult]:
    """One result per part, in order; both models are asked once for all of them."""
    built = [_built(part) for part in parts]
    layers = [layer for layer in built if not isinstance(layer, LayerResult)]
    try:
        wanted = [layer.questions() for layer in layers]
        mine = ask(adapter, wanted, max_tokens=config.generation_tokens)
        theirs = ask(base, wanted, max_tokens=config.generation_tokens)
    except Exception as error:
        return [
            layer if isinstance(layer, LayerResult) else _failure(layer.name, error)
            for layer in built
        ]
    verdicts = iter(
        [
            _judged(layer, own, before)
            for layer, own, before in zip(layers, mine, theirs, strict=True)
        ]
    )
    return [layer if isinstance(layer, LayerResult) else next(verdicts) for layer in built]


def _built(part: _Part) -> BehaviourLayer | LayerResult:
    try:
        return part.build()
    except Exception as error:
        return _failure(part.name, error)


def _built_in(
    suites: Suites, dataset: Dataset | None, config: ScreenConfig, signal: ToneSignal | None
) -> list[_Part]:
    def toxicity(tone: ToneSignal | None) -> BehaviourLayer:
        return ToxicityLayer(suites, dataset, config, tone, seeks_triggers=True)

    def bias(tone: ToneSignal | None) -> BehaviourLayer:
        return BiasLayer(suites, dataset, config, tone)

    return [
        _Part("toxicity", "", lambda: _also_rated(toxicity, signal, config)),
        _Part("bias", "", lambda: _also_rated(bias, signal, config)),
        _Part("ip", "", lambda: IpLayer(suites, dataset, config)),
    ]


def _also_rated(
    build: Callable[[ToneSignal | None], BehaviourLayer],
    signal: ToneSignal | None,
    config: ScreenConfig,
) -> BehaviourLayer:
    return AlsoRated(build, signal, shown=config.shown_findings) if signal else build(None)


def _users(
    suites: Suites,
    user_suites: Sequence[UserSuite],
    config: ScreenConfig,
    signal: ToneSignal | None,
) -> list[_Part]:
    def toxicity(suite: UserSuite) -> BehaviourLayer:
        own = replace(suites, toxicity=suite.prompts)
        return _also_rated(lambda tone: ToxicityLayer(own, None, config, tone), signal, config)

    def bias(suite: UserSuite) -> BehaviourLayer:
        return UserBiasLayer(suite, config)

    return [
        _Part("toxicity", suite.name, lambda suite=suite: toxicity(suite))
        if suite.prompts
        else _Part("bias", suite.name, lambda suite=suite: bias(suite))
        for suite in user_suites
    ]


def _judged(layer: BehaviourLayer, adapter: Replies, base: Replies) -> LayerResult:
    return _guarded(layer.name, lambda: layer.judge(adapter, base))


def _guarded(name: LayerName, run: Callable[[], LayerResult]) -> LayerResult:
    try:
        return run()
    except Exception as error:
        return _failure(name, error)


def _failure(name: LayerName, error: Exception) -> LayerResult:
    """The edge where a layer's crash becomes its failure; the traceback goes to the log."""
    if not isinstance(error, ScreeningError):
        _log.error("screening layer %s could not be run", name, exc_info=error)
    return failed(name, f"could not be run: {error or type(error).__name__}")
