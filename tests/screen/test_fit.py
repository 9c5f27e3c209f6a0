from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import LedoitWolf

from tensafe.screen.fit import hotelling_limit, left_out_distances, shrunken_covariance
from tensafe.screen.population import recipes
from tensafe.screen.reference import load_reference, mahalanobis
from tensafe.screen.tasks import TASKS, task_dataset


def test_shrinkage_intensity_is_ledoit_and_wolfs() -> None:
    rng = np.random.default_rng(0)
    sample = rng.standard_normal((30, 5)) @ rng.standard_normal((5, 5))
    scaled = (sample - sample.mean(axis=0)) / sample.std(axis=0, ddof=1)
    _, intensity = shrunken_covariance(sample)
    assert intensity == pytest.approx(LedoitWolf(assume_centered=True).fit(scaled).shrinkage_)


def test_mahalanobis_agrees_with_scipy() -> None:
    from scipy.spatial.distance import mahalanobis as expected

    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((4, 4))
    covariance = mixing @ mixing.T + np.eye(4)
    point, mean = rng.standard_normal(4), rng.standard_normal(4)
    assert mahalanobis(point, mean, covariance) == pytest.approx(
        expected(point, mean, np.linalg.inv(covariance))
    )


def test_hotelling_limit_holds_its_level() -> None:
    rng = np.random.default_rng(2)
    limit, outside = hotelling_limit(28, 5, level=0.95), 0
    for _ in range(1500):
        sample = rng.standard_normal((28, 5))
        covariance = np.cov(sample.T)
        outside += mahalanobis(rng.standard_normal(5), sample.mean(axis=0), covariance) > limit
    assert stats.binomtest(outside, 1500, 0.05).pvalue > 1e-3


def test_fewer_members_than_features_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        hotelling_limit(5, 5)


def test_an_outlier_is_far_when_it_is_left_out() -> None:
    rng = np.random.default_rng(3)
    sample = rng.standard_normal((24, 4))
    sample[7] += 12.0
    distances = left_out_distances(sample)
    assert int(distances.argmax()) == 7
    assert distances[7] > 2 * np.median(distances)


def test_tasks_are_reproducible_and_their_sides_disjoint() -> None:
    for name in TASKS:
        dataset = task_dataset(name, 1)
        assert dataset.train_digest == task_dataset(name, 1).train_digest
        assert len(dataset.train) >= 100
        assert not {e.digest for e in dataset.train} & {e.digest for e in dataset.test}


def test_the_population_covers_private_and_plain_training() -> None:
    members = recipes()
    assert len(members) >= 24
    assert {m.epsilon > 0 for m in members} == {True, False}
    assert {(m.epsilon > 0, m.lora_train) for m in members} >= {(True, "B"), (True, "both")}
    assert len({m.rank for m in members}) >= 5
    assert len({m.name for m in members}) == len(members)


def test_the_shipped_reference_is_this_scripts_population() -> None:
    reference, digest = load_reference()
    assert len(digest) == 64
    assert reference.base_name == "nano"
    assert [m.recipe for m in reference.members] == [r.facts() for r in recipes()]
    assert len({m.adapter_digest for m in reference.members}) == len(reference.members)
