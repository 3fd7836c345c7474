"""The validation split is called ``val``; the names of earlier versions are still read."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from builders.data.open import open_data, open_dataset
from builders.data.packing.pack import PackSettings
from registry.evaluation.image_sets import open_images
from registry.evaluation.results import Protocol, measurements, save
from specs.errors import SpecError
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint
from specs.schemas.evaluation import EvaluationSpec
from tests.helpers.measured import PROTOCOL, measurement
from tests.helpers.packs import packed
from tests.helpers.shards import samples, write_tar

OLD = ("held_out", "held-out")


def names(folder, pattern):
    return sorted(path.name for path in folder.glob(pattern))


def earlier(folder, out):
    """A pack as version 0.1 wrote it."""
    packed(folder, out)
    for path in out.glob("val-*.tar"):
        path.rename(out / path.name.replace("val", "held-out"))
    for path in out.glob(".val-*.tar.json"):
        path.rename(out / path.name.replace("val", "held-out"))
    card = out / "dataset.yaml"
    card.write_text(card.read_text().replace("  val:", "  held_out:").replace("val-", "held-out-"))
    plan = json.loads((out / ".pack.json").read_text())
    assert plan.pop("val_shards") == "val" and plan["settings"]["held_out"] is True
    (out / ".pack.json").write_text(json.dumps(plan))
    return {path.name: path.read_bytes() for path in out.glob("*.tar")}


@pytest.mark.parametrize("old", OLD)
def test_a_split_is_found_by_its_old_name(tmp_path, old):
    new, found = (open_data("noto-emoji-64", 16, split) for split in ("val", old))
    assert found.split == new.split == "val" and found.keys == new.keys and len(new) == 189
    path = write_tar(tmp_path / "x.tar", samples(60))
    for memory in (None, False):
        loads = [open_dataset(path).load(8, split, memory=memory) for split in ("val", old)]
        assert 0 < len(loads[0]) == len(loads[1]) < 60 and repr(loads[0]) == repr(loads[1])
    mixed = open_dataset({str(path): 1.0, "noto-emoji-64": 1.0})
    assert len(mixed.load(8, old)) == len(mixed.load(8, "val")) and mixed.load(8, old).split == "val"
    assert open_images("noto-emoji-64", 16, old).sha256 == open_images("noto-emoji-64", 16, "val").sha256


@pytest.mark.parametrize("old", OLD)
def test_cards_of_earlier_versions_are_read(tmp_path, old):
    write_tar(tmp_path / "a.tar", samples(4))
    write_tar(tmp_path / "held-out-000000.tar", samples(2))
    splits = f"  train: {{shards: [a.tar]}}\n  {old}: {{shards: [held-out-000000.tar]}}\n"
    (tmp_path / "dataset.yaml").write_text(f"name: mine\nsplits:\n{splits}")
    dataset = open_dataset(tmp_path)
    assert list(dataset.card.splits) == list(dataset.shards) == ["train", "val"]
    assert [len(dataset.load(8, split)) for split in ("train", "val", old, "all")] == [4, 2, 2, 6]
    (tmp_path / "dataset.yaml").write_text(f"name: mine\nsplits:\n  {old}: {{shard: [a.tar]}}\n")
    with pytest.raises(SpecError, match=rf"dataset.yaml:3:\d+: error\[unknown-key\]: '{old}' has no field 'shard'"):
        open_dataset(tmp_path)


def test_packs_have_val_shards(folder, tmp_path):
    out = packed(folder, tmp_path / "out").folder
    assert names(out, "*.tar") == [f"train-00000{number}.tar" for number in range(4)] + ["val-000000.tar"]
    assert list(open_dataset(out).card.splits) == ["train", "val"]
    assert list(packed(folder, tmp_path / "all", val=False).samples) == ["train"]


def test_a_pack_of_an_earlier_version_keeps_its_shards(folder, tmp_path):
    out = tmp_path / "out"
    before = earlier(folder, out)
    assert "held-out-000000.tar" in before
    assert len(open_dataset(out).load(8, "val")) == len(open_dataset(out).load(8, "held_out")) == 2
    # A finished pack, one without a shard, and an interrupted one.
    again = packed(folder, out)
    assert again.kept == again.shards == 5 and again.samples == {"train": 39, "val": 2}
    for gone in ("held-out-000000.tar", "train-000001.tar"):
        (out / gone).unlink()
        (out / "dataset.yaml").unlink(missing_ok=True)
        again = packed(folder, out)
        assert again.kept == 4 and {path.name: path.read_bytes() for path in out.glob("*.tar")} == before
    assert list(open_dataset(out).card.splits) == ["train", "val"] and names(out, "*val*") == []
    assert len(open_dataset(out).load(8, "val")) == 2


def test_a_pack_of_an_earlier_version_that_was_stopped_is_cleaned(folder, tmp_path):
    out = tmp_path / "out"
    earlier(folder, out)
    (out / "dataset.yaml").unlink()
    # All images of the validation split are removed.
    keys = open_dataset(out / "held-out-000000.tar").load(8, "all").keys
    for key in keys:
        (folder / f"{key}.png").unlink()
    again = packed(folder, out)
    assert again.samples == {"train": 39} and names(out, "*held-out*") == names(out, ".*held-out*") == []


def test_settings_of_the_packer(folder, tmp_path, cli):
    with pytest.warns(FutureWarning, match="held_out is now val"):
        old = PackSettings(held_out=False)
    assert old == PackSettings(val=False) and PackSettings().val
    for number, option in enumerate(("--no-val", "--no-held-out")):
        code, out, err = cli("data", "pack", folder, f"out{number}", "--licence", "CC0", option, "-q")
        assert code == 0 and "41 train;" in out and err == ""
    assert "held" not in cli("data", "pack", "--help")[1]


@pytest.mark.parametrize("old", OLD)
def test_recipes_of_earlier_versions_are_read(tmp_path, old):
    assert EvaluationSpec(split=old) == EvaluationSpec(split="val")
    paths = []
    for name, split in (("a", old), ("b", "val")):
        paths.append(tmp_path / f"{name}.yaml")
        paths[-1].write_text(f"name: x\nextends: micro-test\nevaluation: {{split: {split}}}\n")
    one, two = (load_recipe(str(path)) for path in paths)
    assert one.evaluation.split == "val" and fingerprint(one) == fingerprint(two) and one == two


def test_measurements_of_earlier_versions_are_found(tmp_path):
    facts = PROTOCOL.model_dump() | {"features": "efficientnet_lite0", "resolution": 64, "reference_count": 189}
    old, new = (Protocol(**facts | {"reference_split": split}) for split in ("held_out", "val"))
    # As version 0.1 computed it.
    assert old == new and new.key == old.key == "5521a8827b58" and new.reference_split == "val"
    assert Protocol(**facts).key != new.key
    path = save(measurement("mdm-nano", protocol=new), tmp_path)
    stored = path.read_text()
    path.write_text(stored.replace('"val"', '"held_out"'))
    assert path.read_text() != stored
    (found,) = measurements([tmp_path])
    assert found.protocol.reference_split == "val" and found.protocol.title.count("noto-emoji-64 val") == 1
    # Measuring again replaces the file.
    assert save(found, tmp_path) == path and path.read_text() == stored


@pytest.mark.slow
def test_command_evaluates_against_either_name(cli, tmp_path):
    images = open_data("noto-emoji-64", 16, "val").images[:4]
    (tmp_path / "work" / "drawn").mkdir()
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(f"drawn/{number}.png")
    keys = []
    for split in ("val", "held_out"):
        code, out, err = cli("evaluate", "drawn", "--reference", "noto-emoji-64", "--split", split, "-q", "--json")
        assert code == 0, err
        keys.append(json.loads(out)["protocol"])
    assert keys[0] == keys[1]
