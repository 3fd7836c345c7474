"""Recipes: found, merged, overridden and checked against their entry, with every error at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.default_recipe import default_recipe
from specs.errors import SpecError, UnknownName
from specs.recipe import list_recipes, load_recipe
from specs.recipe_identity import fingerprint, public
from specs.schemas.recipe import CarrySpec, LossSpec, OptimizerSpec, Recipe
from tests.helpers.paths import DOCS
from tests.helpers.recipes import BASE, write


@pytest.mark.parametrize("name", list_recipes())
def test_packaged_recipes_load(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.summary


def test_progressive_recipe_trains_from_the_inside_out() -> None:
    recipe = load_recipe("nano-progressive")
    assert [phase.train for phase in recipe.phases.values()] == ["r16", "r32", "r64"]
    rows = list(recipe.phases["p64"].rows(("r64", "r32", "r16")).values())
    assert rows == sorted(rows)


def test_child_takes_over_what_it_does_not_change(tmp_path: Path) -> None:
    path = write(tmp_path, "longer", "name: longer\nextends: nano-progressive\nphases: {p16: {steps: 9000}}\n")
    parent, child = load_recipe("nano-progressive"), load_recipe(path)
    assert child.name == "longer" and child.summary != parent.summary
    assert list(child.phases) == list(parent.phases)
    assert child.optimizer == parent.optimizer
    assert child.phases["p16"].batch == parent.phases["p16"].batch
    assert child.phases["p16"].steps == 9000


def test_override() -> None:
    recipe = load_recipe("nano-progressive", ["phases.p16.steps=7", "optimizer.learning_rate=5e-4", "phases.p64=null"])
    assert recipe.phases["p16"].steps == 7
    assert recipe.optimizer.learning_rate == 5e-4
    assert list(recipe.phases) == ["p16", "p32"]


def test_phase_changes_only_what_it_names() -> None:
    overrides = ["loss.weighting=none", "phases.p16.loss={levels: {r16: 4, r8: 1}}", "phases.p16.schedule={warmup: 2}"]
    recipe = load_recipe("micro-test", overrides)
    phase = recipe.phases["p16"]
    assert recipe.loss_of(phase).space == "v"
    assert recipe.loss_of(phase).levels == {"r16": 4, "r8": 1}
    assert recipe.schedule_of(phase).decay == "cosine"
    assert recipe.schedule_of(phase).warmup == 2
    assert recipe.loss_of(recipe.phases["p8"]) == recipe.loss


def test_rows_that_are_not_named_follow_the_level_around() -> None:
    recipe = load_recipe("nano-progressive", ["phases.p64.batch=null", "phases.p64.batch={r64: 8, r16: 32}"])
    assert recipe.phases["p64"].rows(("r64", "r32", "r16")) == {"r64": 8, "r32": 8, "r16": 32}


def test_fingerprint_is_of_what_decides_the_weights() -> None:
    recipe = load_recipe("micro-test")
    assert fingerprint(load_recipe("micro-test", ["every.checkpoint=2", "summary=x"])) == fingerprint(recipe)
    free = ["workers=2", "checkpoints.last=3", "licence=CC0", "max_bad_steps=9", "every.monitor=7"]
    assert fingerprint(load_recipe("micro-test", free)) == fingerprint(recipe)
    for change in (
        "seed=1", "phases.p8.steps=9", "drop.classes=0.2", "optimizer.betas=[0.9, 0.95]", "flip=true", "clip=1",
        "phases.p8.hours=1", "phases.p16.freeze=[r8]", "carry.optimizer=true", "precision=float32", "ema=0.5",
        "optimizer.options={amsgrad: true}", "phases.p16.initialise=fresh", "phases.p16.loss.levels.r8=0", "data=other",
    ):  # fmt: skip
        assert fingerprint(load_recipe("micro-test", [change])) != fingerprint(recipe), change


@pytest.mark.parametrize("folder", ["what?", "a#b", "my%20project", "x?y=1", "a:b@c"])
def test_a_folder_of_any_name_may_be_moved(folder: str) -> None:
    recipe = load_recipe("micro-test").model_copy(
        update={"data": f"/{folder}/set.tar", "entry": f"/{folder}/tiny.yaml"}
    )
    moved = recipe.model_copy(update={"data": "set.tar", "entry": "tiny.yaml"})
    assert fingerprint(recipe) == fingerprint(moved) == fingerprint(public(recipe))
    assert fingerprint(recipe) != fingerprint(moved.model_copy(update={"data": "other.tar"}))


def test_a_phase_goes_by_steps_or_by_hours(tmp_path: Path) -> None:
    by_hours = load_recipe("micro-test", ["phases.p8.hours=0.5"]).phases["p8"]
    assert by_hours.hours == 0.5 and by_hours.steps is None
    for change, message in (
        ("steps: 10, hours: 1", r"a phase takes one of 'steps' or 'hours'"),
        ("", "a phase needs 'st"),
    ):
        path = write(tmp_path, "length", BASE.format(name="length").replace("steps: 10,", f"{change},".lstrip(","), 1))
        with pytest.raises(SpecError, match=message):
            load_recipe(path)


def test_optimizers_by_name() -> None:
    assert load_recipe("micro-test").optimizer.betas == (0.9, 0.99)
    lion = load_recipe("micro-test", ["optimizer={name: lion, weight_decay: 0.1}"]).optimizer
    # Settings that are of AdamW's recipe in the paper stay with it.
    assert (lion.name, lion.weight_decay, lion.betas, lion.epsilon) == ("lion", 0.1, None, None)
    assert load_recipe("micro-test", ["optimizer.name=timm:adamw"]).optimizer.name == "timm:adamw"


def test_levels_without_a_loss() -> None:
    loss = load_recipe("micro-test", ["phases.p16.loss.levels={r16: 4, r8: 0}"]).phases["p16"].loss
    assert loss is not None and (loss.weight("r16"), loss.weight("r8"), loss.weight("r4")) == (4, 0, 1)


def test_where_weights_come_from() -> None:
    recipe = load_recipe("nano-progressive", ["initialise=mdm-nano", "phases.p64.initialise=fresh"])
    assert [recipe.source_of(name) for name in recipe.phases] == ["mdm-nano", "before", "fresh"]
    assert load_recipe("nano-progressive").source_of("p16") == "fresh"


def test_recipe_survives_json() -> None:
    recipe = load_recipe("nano-progressive")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("phases.p8.step=3", "<override 1>:1:11: error[unknown-key]: phase 'p8' has no field 'step'; did you mean"),
        ("phases.p8.batch=many", "error[wrong-type]: 'batch' is a number of rows, or {level: rows}"),
        ("phases.p8.batch={r8: 0}", "error[out-of-range]: 'batch'"),
        ("phases.p8.batch=true", "error[wrong-type]: 'batch'"),
        ("phases.p8.train=r9", "<override 1>:1:17: error[bad-value]: mdm-micro has no level 'r9'; its levels"),
        ("phases.p16.batch.r16=9", "error[bad-value]: level r16 has 9 rows, more than r8 inside it"),
        ("phases.p16.batch={r4: 1}", "error[bad-value]: phase 'p16' does not train a level 'r4'"),
        ("loss.levels={r12: 1}", "error[bad-value]: mdm-micro has no level 'r12'"),
        ("phases.p8.loss.levels={r16: 1}", "error[bad-value]: phase 'p8' does not train r16, which is outside r8"),
        ("phases.p16.loss.levels={r1: 1}", "error[bad-value]: mdm-micro has no level 'r1'"),
        ("loss.weighting=vdm", "error[conflict]: weighting 'vdm' is defined for the eps space"),
        ("optimizer.name=adanw2", "error[bad-value]: no optimizer is called 'adanw2'; did you mean 'adanw'"),
        ("optimizer.name=qqqq", "no optimizer is called 'qqqq'; there are adadelta, adafactor"),
        ("optimizer.name='{x}'", "no optimizer is called '{x}'; there are"),
        ("optimizer.name=timm:lyon", "no optimizer is called 'timm:lyon'; did you mean 'timm:lion'"),
        ("phases.p8.hours=-1", "error[out-of-range]: 'hours' must be more than 0"),
        ("phases.p16.freeze=[r4]", "error[bad-value]: phase 'p16' has no level 'r4' to freeze"),
        ("phases.p8.freeze=[r8]", "error[conflict]: phase 'p8' freezes every level"),
        ("phases.p16.loss.levels={r16: 0, r8: null}", "error[conflict]: phase 'p16' has no level with a loss"),
        ("phases.p8.initialise=before", "error[bad-value]: phase 'p8' is the first"),
        ("drop.text=0.1", "error[conflict]: mdm-micro has no text to drop"),
        ("precision=fp16", "'precision' must be 'auto', 'float32', 'bfloat16' or 'float16'"),
        ("entry=mdm-mikro", "error[unknown-entry]: no entry is called 'mdm-mikro'; did you mean 'mdm-micro'"),
        ("drop.clases=0.1", "did you mean 'classes'"),
        ("ema=1", "error[out-of-range]: 'ema' must be less than 1"),
        ("clip=0", "error[out-of-range]: 'clip' must be more than 0"),
    ],
)
def test_every_mistake_is_told_at_its_place(override: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_recipe("micro-test", [override])
    assert message in str(caught.value)
    assert "<override 1>:1:" in str(caught.value)


@pytest.mark.parametrize("key", ["clip", "dynamic_threshold"])
def test_a_clipped_loss_needs_samplers_that_clip(key: str) -> None:
    recipe = load_recipe("micro-test", ["phases.p16.loss.clip_x0=true"])
    assert [recipe.loss_of(phase).clip_x0 for phase in recipe.phases.values()] == [False, True]
    setting = f"evaluation.{key}={'false' if key == 'clip' else 0.99}"
    with pytest.raises(SpecError) as caught:
        load_recipe("micro-test", ["phases.p16.loss.clip_x0=true", setting])
    found = str(caught.value)
    assert found.startswith("<override 1>:1:25: error[conflict]: with 'clip_x0', predictions may be beyond [-1, 1]")
    assert f"leave {key!r} of the evaluation at its default" in found


def test_all_mistakes_of_a_file_come_together(tmp_path: Path) -> None:
    text = BASE.format(name="bad").replace("steps: 10", "step: 10").replace("space: v", "space: x")
    path = write(tmp_path, "bad", text)
    with pytest.raises(SpecError) as caught:
        load_recipe(path)
    codes = [problem.code for problem in caught.value.problems]
    assert codes.count("unknown-key") == 2 and "bad-value" in codes
    assert f"{path}:6:15" in str(caught.value)


def test_phases_go_outwards(tmp_path: Path) -> None:
    text = BASE.format(name="back").replace("train: r8,", "train: r0,").replace("train: r16,", "train: r8,")
    path = write(tmp_path, "back", text.replace("train: r0,", "train: r16,").replace("{r16: 2, r8: 4}", "4"))
    with pytest.raises(SpecError, match="phase 'p16' trains r8 after r16; train levels from the inside out"):
        load_recipe(path)


def test_unknown_recipe_is_suggested() -> None:
    with pytest.raises(UnknownName, match="no recipe is called 'nano-progresive'; did you mean 'nano-progressive'"):
        load_recipe("nano-progresive")
    with pytest.raises(SpecError, match="missing-file"):
        load_recipe("no/such/recipe.yaml")


def test_cyclic_extends(tmp_path: Path) -> None:
    write(tmp_path, "one", "name: one\nextends: two.yaml\n")
    write(tmp_path, "two", "name: two\nextends: one.yaml\n")
    with pytest.raises(SpecError, match=r"two\.yaml:2:10: error\[cyclic-reference\].*one -> two -> one"):
        load_recipe(tmp_path / "one.yaml")


def test_extends_must_be_a_known_recipe(tmp_path: Path) -> None:
    write(tmp_path, "child", "name: child\nextends: nano-progresive\n")
    with pytest.raises(SpecError, match=r"child\.yaml:2:10: error\[unknown-entry\].*did you mean 'nano-progressive'"):
        load_recipe(tmp_path / "child.yaml")


def test_folders_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "recipes", "mine")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    write(tmp_path / "recipes", "short").rename(tmp_path / "recipes" / "short.yml")
    assert {"mine", "short"} <= set(list_recipes())
    assert load_recipe("short").name == "short"
    assert load_recipe("mine").entry == "mdm-micro"
    (tmp_path / "recipes" / "other.yaml").write_text(BASE.format(name="mine"))
    with pytest.raises(SpecError, match="the file is named 'other', but its key 'name' is 'mine'"):
        load_recipe("other")


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("name: net\nextends: mdm-micro\n")
    text = BASE.format(name="here").replace("entry: mdm-micro", "entry: ./net.yaml")
    path = write(tmp_path, "here", text.replace("data: noto-emoji-64", "data: ./shards"))
    recipe = load_recipe(path)
    assert Path(recipe.entry) == tmp_path / "net.yaml"
    assert Path(recipe.data) == tmp_path / "shards"
    assert load_recipe(path, ["data=./elsewhere"]).data == "./elsewhere"


def test_parts_of_a_recipe_by_their_place_of_before() -> None:
    """Before 0.2, ``specs.recipe`` defined them."""
    from specs.recipe import CarrySpec as Before

    assert Before is CarrySpec


@pytest.mark.parametrize("text", ["", "- 1\n", "3\n", "name: [\n", "a: &x 1\nb: *x\n"])
def test_no_recipe_at_all(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(SpecError):
        load_recipe(path)


def test_paper_recipes_have_the_settings_of_the_paper() -> None:
    """Those that the design names; the data need not be there to check a recipe."""
    for name in ("paper-in1k-256", "paper-webvid-256", "paper-cc12m-1024"):
        recipe = load_recipe(name)
        optimizer = recipe.optimizer
        assert (optimizer.name, optimizer.betas, optimizer.learning_rate) == ("adamw", (0.9, 0.99), 1e-4)
        assert (recipe.schedule.warmup, recipe.clip, recipe.ema, recipe.loss.space) == (30_000, 2, 0.9999, "eps")
    last = recipe.phases["p1024"]
    assert last.loss is not None and last.loss.levels == {"r1024": 16, "r256": 4, "r64": 1}
    assert recipe.text_encoder == "google/flan-t5-xl"


def test_the_recipe_for_video_trains_clips_and_images_together() -> None:
    """First images alone, then clips of which the image level sees first frames, beside images."""
    recipe, levels = load_recipe("paper-webvid-256"), ("r256f16", "r64f16", "r64")
    assert (recipe.entry, recipe.data, recipe.images) == ("mdm-s256v", "webvid-256", "cc12m-64")
    assert [phase.train for phase in recipe.phases.values()] == ["r64", "r64f16", "r256f16"]
    assert recipe.phases["p64v"].rows(levels[1:]) == {"r64f16": 64, "r64": 512}
    assert recipe.phases["p256v"].rows(levels) == {"r256f16": 32, "r64f16": 64, "r64": 512}


def test_a_recipe_is_made_for_an_entry() -> None:
    recipe = default_recipe("mdm-nano", "some/shards", ["phases.r16.batch=8", "workers=2"], steps=1001)
    assert [(name, phase.train, phase.steps) for name, phase in recipe.phases.items()] == [
        ("r16", "r16", 500), ("r32", "r32", 250), ("r64", "r64", 251),
    ]  # fmt: skip
    assert (recipe.entry, recipe.data, recipe.phases["r16"].batch, recipe.workers) == ("mdm-nano", "some/shards", 8, 2)
    assert recipe.phases["r64"].rows(("r64", "r32", "r16")) == {"r64": 16, "r32": 32, "r16": 32}
    assert recipe.optimizer.learning_rate > default_recipe("mdm-s64", "x").optimizer.learning_rate == 1e-4
    clips = default_recipe("mdm-s64v", "clips")
    assert [(phase.train, phase.batch) for phase in clips.phases.values()] == [
        ("r64", 32), ("r64f16", {"r64f16": 16, "r64": 32}),
    ]  # fmt: skip
    assert [phase.steps for phase in default_recipe("mdm-nano", "x", steps=3).phases.values()] == [1, 1, 1]
    with pytest.raises(ValueError, match="mdm-nano has 3 levels, so it needs at least 3 steps, not 2"):
        default_recipe("mdm-nano", "x", steps=2)
    with pytest.raises(SpecError, match="there is no phase 'p16' here"):
        default_recipe("mdm-nano", "x", ["phases.p16.batch=8"])


def test_it_goes_by_the_name_of_its_entry(tmp_path: Path) -> None:
    (tmp_path / "it's.yaml").write_text("name: it\nextends: mdm-micro\n")
    recipe = default_recipe(str(tmp_path / "it's.yaml"), "./shards")
    assert recipe.name == "train-it" and recipe.data == "./shards"


def test_every_key_is_in_the_training_page() -> None:
    """By its own name, or as part of one such as `phases.NAME.train`."""
    from specs.schemas.recipe import CadenceSpec, CarrySpec, CheckpointSpec, DropSpec, PhaseSpec, ScheduleSpec

    page = (DOCS / "training.md").read_text()
    table = page.partition("## Keys")[2].partition("\n## ")[0]
    words = {word for code in table.split("`")[1::2] for word in code.replace(":", " ").split()}
    words |= {part for word in words for part in word.split(".")}
    for model in (Recipe, PhaseSpec, OptimizerSpec, LossSpec, ScheduleSpec, DropSpec, CarrySpec, CadenceSpec):
        assert not [name for name in model.model_fields if name not in words], model
    assert not [name for name in CheckpointSpec.model_fields if name not in words]
