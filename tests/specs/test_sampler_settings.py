"""Times that samplers visit, times with guidance, and settings by place and by name."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.schemas.evaluation import EvaluationSpec
from specs.schemas.sampling import SamplerSettings, spaced_indices, time_indices


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


def log_snr(steps, shift=0.0):
    """Half the log-SNR of the cosine schedule, without the limit of its last step; that of index 0 is not read."""
    signals = [math.cos((index / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for index in range(steps)] + [1e-9]
    return [math.inf, *(math.log(g / (1 - g)) / 2 - shift for g in signals[1:])]


def test_times_even_in_log_snr():
    straight = [99.0, *(4.0 - index / 10 for index in range(1, 101))]  # 3.9 down to -6
    # Between those of index 90, where twice as many even steps have their second time, and index 10, where their last.
    assert spaced_indices(straight, 5) == [100, 70, 50, 30, 10, 0]
    assert spaced_indices(straight, 5, floor=-3) == [100, 55, 40, 25, 10, 0]
    assert spaced_indices(straight, 1) == [100, 0]
    assert spaced_indices([0.0, 1.0], 1) == [1, 0]
    # Each of the few indices is taken once, even if several places are nearest to one of them.
    assert spaced_indices([9.0, 8.0, -1.0, -2.0, -3.0], 3) == [4, 2, 1, 0]
    assert spaced_indices([0.0] * 6, 4) == time_indices(5, 4)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), steps=st.integers(1, 1500), shift=st.floats(-14, 14), floor=st.floats(-12, 5))
def test_times_even_in_log_snr_are_distinct_and_fall_to_clean(data, steps, shift, floor):
    count, levels = data.draw(st.integers(1, steps)), log_snr(steps, shift)
    times = spaced_indices(levels, count, floor)
    assert len(times) == count + 1 and times[0] == steps and times[-1] == 0
    assert all(t > s for t, s in pairwise(times))
    assert all(type(time) is int for time in times)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), values=st.lists(st.floats(-15, 15), min_size=1, max_size=60))
def test_any_falling_log_snr_has_distinct_times(data, values):
    levels = [math.inf, *sorted(values, reverse=True)]
    count = data.draw(st.integers(1, len(values)))
    times = spaced_indices(levels, count)
    assert len(times) == count + 1 and times[0] == len(values) and times[-1] == 0
    assert all(t > s for t, s in pairwise(times))


def test_differences_of_log_snr_are_even_where_the_indices_are_dense():
    levels = log_snr(100_000)
    found = [levels[time] for time in spaced_indices(levels, 40)[1:-1]]
    gaps = [after - before for before, after in pairwise(found)]
    assert max(gaps) < 1.02 * min(gaps)


@pytest.mark.parametrize(("steps", "count"), [(10, 0), (10, 11), (10, -1), (1000, 1001)])
def test_times_that_cannot_be(steps, count):
    for spacing in ("index", "logsnr"):
        fitting = SamplerSettings(spacing=spacing).model_copy(update={"num_inference_steps": count})
        with pytest.raises(ValueError, match=f"num_inference_steps must be from 1 to {steps:,}, not {count:,}"):
            fitting.times(log_snr(steps))


def test_the_spacing_is_stored_only_if_it_is_not_that_of_earlier_versions():
    """Results and folders of samples from before the setting existed keep their keys."""
    assert SamplerSettings().times(log_snr(60)) == time_indices(60, 50)
    for spec in (SamplerSettings(sampler="dpm++"), EvaluationSpec(sampler="dpm++")):
        assert "spacing" not in spec.drawn and "spacing" not in spec.facts
        spec = spec.model_copy(update={"spacing": "logsnr"})
        assert spec.drawn["spacing"] == spec.facts["spacing"] == "logsnr"


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
    assert SamplerSettings() == SamplerSettings("ddim", 50, 1.0, (0.0, 1.0), 0.0, True, None, "auto", "index")


@pytest.mark.parametrize(
    ("args", "values", "message"),
    [
        (("ddin",), {}, "'sampler' must be 'ddim', 'ddpm' or 'dpm.*did you mean 'ddim'"),
        ((), {"eta": 2.0}, "'eta'"),
        ((), {"step": 3}, "SamplerSettings has no field 'step'; it has sampler, num_inference_steps"),
        ((), {"eta": 2.0, "num_inference_steps": 0}, "'num_inference_steps'.*; 'eta'"),
        (("ddim", 50, 1.0, (0.0, 1.0), 0.0, True, None, "auto", "index", 1), {}, "has 9 fields, but 10 values"),
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
