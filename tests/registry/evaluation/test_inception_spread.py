"""The inception score has a spread over splits of the samples, which is no interval of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from registry.evaluation.distances import inception_score
from registry.evaluation.evaluate import compare
from registry.evaluation.features import INCEPTION_SHA256, Extractor
from registry.evaluation.results import Measurement, Metric

PROTOCOL = {
    "features": "inception", "features_sha256": "0" * 64, "resize": "internal", "resolution": 8, "samples": 100,
    "reference": "made-up", "reference_count": 100, "reference_sha256": "0" * 64,
}  # fmt: skip


def test_the_spread_is_no_interval():
    pytest.importorskip("torch_fidelity")
    generator = np.random.default_rng(0)
    features, logits = generator.normal(size=(40, 4)), generator.normal(size=(40, 10)).astype(np.float32)
    extractor = Extractor("inception", INCEPTION_SHA256, 4, "internal", True, lambda x: (x, x))
    metrics = compare(features, features + 0.1, extractor, logits, replicates=4).metrics
    mean, spread = inception_score(logits)
    assert metrics["inception_score"] == Metric(value=mean, spread=spread)
    assert metrics["fid"].low is not None and metrics["fid"].spread is None


def test_files_of_earlier_versions_are_read():
    """They have 1.96 times the spread on both sides of the score."""
    old = {
        "inception_score": {"value": 5.0, "low": 5 - 0.98, "high": 5 + 0.98},
        "fid": {"value": 9.0, "low": 8, "high": 11},
    }
    found = Measurement.model_validate_json(json.dumps({"protocol": PROTOCOL, "metrics": old}))
    score = found.metrics["inception_score"]
    assert (score.low, score.high) == (None, None) and score.spread == pytest.approx(0.5)
    assert found.metrics["fid"] == Metric(value=9, low=8, high=11)
    assert Measurement.model_validate_json(found.model_dump_json()) == found


def test_tables_call_it_the_spread_of_splits():
    metrics = {"inception_score": Metric(value=5.0, spread=0.5), "fid": Metric(value=9.0, low=8.0, high=11.0)}
    found = Measurement.model_validate({"protocol": PROTOCOL, "metrics": metrics | {"kid": Metric(value=1.0)}})
    assert [metric.uncertainty() for metric in found.metrics.values()] == ["spread of splits 0.5", "8 to 11", ""]
    page = found._repr_html_()
    assert "spread of splits 0.5" in page and "8 to 11" in page
    assert metrics["inception_score"].uncertainty("{:.2f}".format) == "spread of splits 0.50"
