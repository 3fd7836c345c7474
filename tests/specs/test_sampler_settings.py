"""Times that samplers visit, times with guidance, and settings by place and by name."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.schemas.evaluation import EvaluationSpec
from specs.schemas.sampling import SamplerSettings, time_indices


def test_times_are_rounded_evenly():
    assert time_indices(10, 4) == [10, 8, 5, 2, 0]
    assert time_indices(10, 1) == [10, 0]
    assert time_indices(1, 1) == [1, 0]
    assert time_indices(5, 5) == [5, 4, 3, 2, 1, 0]


@settings(max_examples=50, deadline=None)
@given(data=st.data(), steps=st.integers(1, 2000))
def test_times_fall_evenly_from_noise_to_clean(data, steps):
    count = data.draw(st.integers(1, steps))
    times = time_indices(steps, count)
    assert len(times) == count + 1 and times[0] == steps and times[-1] == 0
    assert all(t > s for t, s in pairwise(times))
    assert all(abs(time - steps * (1 - number / count)) <= 0.5 + 1e-6 for number, time in enumerate(times))


@pytest.mark.parametrize(("steps", "count"), [(10, 0), (10, 11), (10, -1), (1000, 1001)])
def test_times_that_cannot_be(steps, count):
    with pytest.raises(ValueError, match=f"num_inference_steps must be from 1 to {steps:,}, not {count:,}"):
        time_indices(steps, count)


@pytest.mark.parametrize(
    ("time", "guided"), [(0.0, False), (0.29, False), (0.3, True), (0.5, True), (0.7, True), (0.71, False)]
)
def test_both_ends_of_an_interval_are_guided(time, guided):
    assert SamplerSettings(guidance_interval=(0.3, 0.7)).guides_at(time) is guided
    assert SamplerSettings().guides_at(time) is True and SamplerSettings().guides_at(1.0) is True


def test_settings_by_place_and_by_name():
    found = SamplerSettings("dpm++", 20, 3.0, (0.1, 0.9), clip=False)
    assert (found.sampler, found.num_inference_steps, found.guidance_scale) == ("dpm++", 20, 3.0)
    assert found.guidance_interval == (0.1, 0.9) and not found.clip
    assert SamplerSettings() == SamplerSettings("ddim", 50, 1.0, (0.0, 1.0), 0.0, True, None)


@pytest.mark.parametrize(
    ("args", "values", "message"),
    [
        (("ddin",), {}, "'sampler' must be 'ddim', 'ddpm' or 'dpm.*did you mean 'ddim'"),
        ((), {"eta": 2.0}, "'eta'"),
        ((), {"step": 3}, "SamplerSettings has no field 'step'; it has sampler, num_inference_steps"),
        ((), {"eta": 2.0, "num_inference_steps": 0}, "'num_inference_steps'.*; 'eta'"),
        (("ddim", 50, 1.0, (0.0, 1.0), 0.0, True, None, "auto", 1), {}, "has 8 fields, but 9 values"),
        (("ddpm",), {"eta": 0.5}, "'eta' is the noise of ddim; ddpm does not take it"),
        ((), {"guidance_interval": (0.8, 0.2)}, "from 0.8 down to 0.2"),
        ((), {"clip": False, "dynamic_threshold": 0.9}, "'clip' is off"),
    ],
)
def test_settings_that_cannot_be(args, values, message):
    with pytest.raises(ValueError, match=message):
        SamplerSettings(*args, **values)


def test_numbers_of_python_and_numpy_are_taken():
    settings = SamplerSettings(num_inference_steps=np.int64(4), guidance_scale=np.float32(2), clip=1)
    assert settings == SamplerSettings("ddim", 4.0, 2)
    assert type(settings.num_inference_steps) is int and settings.clip is True


def test_the_precision_is_stored_unless_it_is_float32():
    assert SamplerSettings().precision == "auto" and EvaluationSpec().precision == "float32"
    for each in (SamplerSettings(), SamplerSettings(precision="float32"), EvaluationSpec()):
        assert "precision" not in each.drawn
        assert "precision" not in each.facts
    found = SamplerSettings(precision="bfloat16")
    assert found.drawn["precision"] == found.facts["precision"] == "bfloat16"
    assert EvaluationSpec(precision="bfloat16").drawn["precision"] == "bfloat16"
    with pytest.raises(ValueError, match="precision"):
        EvaluationSpec(precision="auto")
    with pytest.raises(ValueError, match="'precision'"):
        SamplerSettings(precision="float16")
