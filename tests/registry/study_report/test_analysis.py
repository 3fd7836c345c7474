"""What results of a study say: arms, contrasts, the family of primary ones, and what is missing."""

from __future__ import annotations

import pytest

from registry.statistics.paired import compare_pairs
from registry.study_report.analysis import analyse
from tests.helpers.made_up_study import CONTRASTS, made_up_result, made_up_results, made_up_study


def test_contrasts_are_paired_by_seed_and_adjusted():
    found = analyse(made_up_study(), made_up_results())
    assert [each.name for each in found.contrasts] == ["sharing", "features", "quality"] and found.notes == ()
    sharing, features, quality = found.contrasts
    nested, flat = ({seed: made_up_result(arm, seed).measures["p1"] for seed in range(8)} for arm in ("nested", "flat"))
    assert sharing.comparison == compare_pairs(nested, flat)
    assert sharing.comparison.p_value == 2 / 2**8 and sharing.adjusted == features.adjusted == 4 / 2**8
    assert sharing.verdict == "nested lower" and sharing.significant
    assert quality.adjusted is None and quality.verdict == "descriptive"


def test_the_order_of_results_does_not_matter():
    results = made_up_results()
    assert analyse(made_up_study(), results[::-1]).contrasts == analyse(made_up_study(), results).contrasts


def test_failed_and_missing_runs_are_named_and_left_out():
    results = [each for each in made_up_results() if each.key.name not in ("flat-s2", "cut-s0")]
    results.append(made_up_result("flat", 2, status="failed", failure="the loss is not finite"))
    found = analyse(made_up_study(), results)
    assert found.notes == ("flat-s2 failed: the loss is not finite", "cut: no results of seeds 0")
    sharing, features, _ = found.contrasts
    assert sharing.comparison.seeds == (0, 1, 3, 4, 5, 6, 7) and sharing.note == "without seeds 2"
    assert features.note == "without seeds 0"
    assert sharing.adjusted == 2 * 2 / 2**7


def test_a_contrast_without_results_counts_in_the_family():
    results = [each for each in made_up_results() if each.arm != "cut"]
    sharing, features, _ = analyse(made_up_study(), results).contrasts
    assert (features.comparison, features.adjusted, features.verdict) == (None, None, "not measured")
    assert features.note == "no seed has p1 of both arms"
    assert sharing.adjusted == 2 * 2 / 2**8


def test_no_difference_found():
    study = made_up_study(contrasts={"quality": {**CONTRASTS["quality"], "primary": True}})
    (quality,) = analyse(study, made_up_results()).contrasts
    assert quality.verdict == "no difference found" and quality.adjusted > 0.05


def test_alpha_is_that_of_the_study():
    study = made_up_study(alpha=0.01)
    assert not analyse(study, made_up_results()).contrasts[0].significant


def test_contrasts_without_a_test_are_not_in_the_family():
    contrasts = {**CONTRASTS, "features": {**CONTRASTS["features"], "test": "none"}}
    sharing, features, _ = analyse(made_up_study(contrasts=contrasts), made_up_results()).contrasts
    assert sharing.adjusted == 2 / 2**8 and features.adjusted is None and features.verdict == "descriptive"


def test_log_scale_and_alternative():
    contrasts = {"one": {**CONTRASTS["sharing"], "scale": "log", "alternative": "less"}}
    (one,) = analyse(made_up_study(contrasts=contrasts), made_up_results()).contrasts
    assert one.comparison.p_value == 1 / 2**8 and one.comparison.difference.value < -0.05
    below = [made_up_result("nested", 0, measures={"p1": -0.1}), made_up_result("flat", 0)]
    (one,) = analyse(made_up_study(contrasts=contrasts), below).contrasts
    assert one.comparison is None and one.note == "values on the log scale must be above 0"


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"exploratory": True}, "exploratory: 1 of 24 runs were made without registration, or after a change"),
        ({"registered": "cd" * 32}, "the runs name different registrations"),
        ({"hash": "other"}, "nested: its runs trained entries of different hashes"),
        ({"training_flops": 1.1e12}, "nested: training FLOPs differ from the budget by more than 2 %"),
    ],
)
def test_results_that_do_not_belong_together(changes, note):
    results = [*made_up_results()[1:], made_up_result("nested", 0, **changes)]
    assert analyse(made_up_study(), results).notes == (note,)


def test_a_file_that_changed_after_the_registration():
    assert analyse(made_up_study(), made_up_results(), "ab" * 32).notes == ()
    (note,) = analyse(made_up_study(), made_up_results(), "cd" * 32).notes
    assert note == "the file of the study has changed since the registration that the runs name"
    exploratory = [each.model_copy(update={"exploratory": True, "registered": ""}) for each in made_up_results()]
    assert len(analyse(made_up_study(), exploratory, "cd" * 32).notes) == 1


def test_other_results_are_left_out():
    others = [
        made_up_result("nested", 8),
        made_up_result("flat", 0, study="another"),
        made_up_result("unknown", 0),
        made_up_result("nested", 0, searched=1, setting=0.002),
    ]
    found = analyse(made_up_study(), [*made_up_results(), *others])
    assert found.notes == ("3 results of other studies, arms or seeds are left out",)
    assert len(found.runs) == 24 and len(found.searched) == 1


def test_measures_of_contrasts_come_first_and_numbers_in_order():
    names = analyse(made_up_study(), made_up_results()).measures
    assert names[:2] == ("p1", "p2") and names[2:5] == ("p1/-5", "p1/-4", "p1/-3") and names[-1] == "val_v_loss/r32"
