"""Published configurations as files: the network is found in a training configuration; of the rest nothing is asked."""

from __future__ import annotations

import json
import re

import pytest

from builders.published.config import PublishedConfigError, to_mapping
from builders.published.config_file import read_config

NETWORK = {
    "resolution_channels": [32, 64], "num_resnets_per_resolution": [1, 1], "num_attention_layers": [0, 1],
    "attention_levels": [1], "micro_conditioning": "scale:16", "temporal_dim": None,
}  # fmt: skip
TEXT = json.dumps(NETWORK)


def read(tmp_path, text, name="c.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(path)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"unet_config: {TEXT}",
        f"lr: 1\nlr: 2\nbatch_size: 4\nunet_config: {TEXT}\nbatch_size: 5\n",
        f"unet_config: {{resolution_channels: [1]}}\nunet_config: {TEXT}",
        f"a: !!python/object/apply:os.system [echo]\nb: !own {{x: 1}}\nunet_config: {TEXT}",
        f"common: &common {{x: 1}}\nreader: *common\nother: {{<<: *common}}\nunet_config: {TEXT}",
        f"? [1, 2]\n: x\n3: y\nnull: z\nunet_config: {TEXT}",
        f"experiment: {{model: {{unet_config: {TEXT}}}, teacher: {TEXT}}}",
        f"model: {TEXT}",
        f"\ufeffunet_config: {TEXT.replace('null', 'None')}",
        f"# dates and times\nstarted: 2024-13-45\nunet_config: {TEXT.replace('16', '16').replace('null', '~')}",
        "unet_config:\n" + "".join(f"  {key}: {json.dumps(value)}\n" for key, value in NETWORK.items()),
    ],
)
def test_the_network_is_taken_from_a_training_configuration(tmp_path, text):
    assert read(tmp_path, text) == NETWORK


@pytest.mark.parametrize(
    "text", [TEXT, f'{{"lr": NaN, "lr": 1e400, "unet_config": {TEXT}}}', f'{{"a": {{"b": {TEXT}}}}}']
)
def test_json(tmp_path, text):
    assert read(tmp_path, text, "c.json") == NETWORK


def test_networks_inside_the_network_stay_there(tmp_path):
    nested = NETWORK | {"inner_config": NETWORK}
    assert read(tmp_path, f"x: {{unet_config: {json.dumps(nested)}}}") == nested


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a network configuration is a mapping"),
        ("[1, 2]", "a network configuration is a mapping"),
        ("3", "a network configuration is a mapping"),
        ("a: [1", "not YAML that can be read (line "),
        ("a: 1\n---\nb: 2", "not YAML that can be read (line 2: "),
        ("unet_config: {resolution_channels: !!python/name:os.system x}", "not YAML that can be read (line 1: "),
        (f"a: {TEXT}\nb: {TEXT}", "several networks (a, b); give a file with one of them"),
        (f"a: {{unet_config: {TEXT}}}\nb: {{unet_config: {TEXT}}}", "several networks (a.unet_config, b.unet_config)"),
        ("a: &a [*a]", "nested too deeply"),
        ("[" * 5000, "nest"),
        ("a: " + "[" * 99 + "]" * 99, "nested too deeply"),
        ("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)), "more than 50,000"),
        ("[" + "1," * 60_000 + "1]", "more than 50,000 values"),
        (b"\xff\xfe", "not UTF-8 text"),
        ("#" * 1_000_001, "larger than 1,000,000 bytes"),
        ("version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_one_line(tmp_path, text, words):
    with pytest.raises(PublishedConfigError, match=re.escape(words)) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(PublishedConfigError, match="No such file"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(PublishedConfigError, match="Is a directory"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('"resolution_channels": [1e400]', "resolution_channels: expected whole numbers, got [inf]"),
        ('"resolution_channels": 1e400', "resolution_channels: expected whole numbers"),
        ('"resolution_channels": [NaN, 64]', "resolution_channels: expected whole numbers"),
        ('"resolution_channels": [32.5, 64]', "resolution_channels: expected whole numbers"),
        ('"resolution_channels": []', "resolution_channels: has 0 numbers"),
        (f'"resolution_channels": {[32] * 5000}', "resolution_channels: has 5000 numbers, not 1 to 16"),
        ('"attention_levels": [Infinity]', "attention_levels: expected whole numbers"),
        ('"num_resnets_per_resolution": "1,inf"', "num_resnets_per_resolution: expected whole numbers"),
        ('"micro_conditioning": "scale:1e400"', "micro_conditioning: 'scale:1e400' is not NAME:NUMBER"),
        ('"micro_conditioning": "scale:nan"', "micro_conditioning: 'scale:nan' is not NAME:NUMBER"),
        ('"temporal_dim": Infinity', "temporal_dim: expected a whole number, got inf"),
        ('"resnet_config": {"dropout": 1e400}', "dropout: expected a number from 0 to 1, got inf"),
        ('"resnet_config": {"dropout": NaN}', "dropout: expected a number from 0 to 1, got nan"),
        ('"resnet_config": {"num_groups_norm": Infinity}', "num_groups_norm: expected a whole number, got inf"),
    ],
)
def test_numbers_that_are_not_finite(tmp_path, change, words):
    text = f"{TEXT[:-1]}, {change}}}"
    with pytest.raises(PublishedConfigError, match=re.escape(words)) as caught:
        to_mapping(read(tmp_path, text, "c.json"))
    assert "\n" not in str(caught.value)


def test_whole_numbers_in_other_forms(tmp_path):
    expected = to_mapping(NETWORK)
    for change in ('"resolution_channels": [32.0, "64"]', '"num_attention_layers": "0, 1"', '"attention_levels": 1'):
        assert to_mapping(read(tmp_path, f"{TEXT[:-1]}, {change}}}", "c.json")) == expected
