"""The `mahalanobis_ood` layer: how far the adapter's features lie from the reference population."""

from __future__ import annotations

import numpy as np

from tensafe.screen.adapter_weights import AdapterWeights
from tensafe.screen.config import ScreenConfig
from tensafe.screen.features import FEATURES, features
from tensafe.screen.records import Check, Finding, LayerResult, failed, judged
from tensafe.screen.reference import Reference


def mahalanobis_ood(
    weights: AdapterWeights, reference: Reference, config: ScreenConfig
) -> LayerResult:
    """One check: the Mahalanobis distance against the population's own threshold.

    Findings name the features that lie more than three standard deviations from the mean.
    """
    if reference.feature_names != FEATURES:
        return failed("mahalanobis_ood", "the reference was fitted on other features: fit it again")
    try:
        vector = features(weights)
    except ValueError as error:
        return failed("mahalanobis_ood", str(error))
    deviation = (vector - np.array(reference.mean)) / np.sqrt(np.diag(reference.covariance))
    findings = [
        Finding(
            "far from the population", "", name, f"{value:+.1f} standard deviations", score=value
        )
        for name, value in sorted(
            zip(FEATURES, deviation.tolist(), strict=True), key=lambda item: -abs(item[1])
        )
        if abs(value) > 3.0
    ]
    check = Check(
        "distance",
        reference.distance(vector),
        reference.threshold,
        f"from {len(reference.members)} adapters on {reference.base_name}",
    )
    evidence: dict[str, object] = {"features": dict(zip(FEATURES, vector.tolist(), strict=True))}
    return judged("mahalanobis_ood", [check], findings, evidence, shown=config.shown_findings)
