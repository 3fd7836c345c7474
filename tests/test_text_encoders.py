"""Text encoders: what their states are, how they are kept, and what is refused."""

from __future__ import annotations

import json
import pickle
import sys

import pytest
import torch

from builders import embedded_text
from builders.encoded_text import FACTS, EncodedText, encode_dataset
from builders.text_encoders import TextEncoderError, open_text_encoder
from specs.graph import TextInput
from specs.load import load_entry

TEXT = TextInput(width=256, tokens=16)
CAPTIONS = ["a red apple", "", "   ", "an apple", "woman walking facing right: dark skin tone " * 4]


@pytest.fixture(scope="module")
def encoder():
    return open_text_encoder("embedded", TEXT)


def test_states_of_the_embedded_encoder(encoder):
    states, mask = encoder(CAPTIONS)
    assert states.shape == (5, 16, 256) and states.dtype == torch.float32
    assert mask.shape == (5, 16) and mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [3, 0, 0, 2, 16]
    assert not states[~mask].any() and states[mask].abs().sum(-1).min() > 0
    assert torch.equal(encoder(["A RED apple"])[0], states[:1])
    # A token has one state wherever it stands; words differ.
    torch.testing.assert_close(states[0, 2], states[3, 1], atol=0, rtol=0)
    assert not torch.equal(states[0, 1], states[0, 2])
    assert (encoder.name, encoder.width, encoder.tokens, len(encoder.fingerprint)) == ("embedded", 256, 16, 64)
    assert encoder.fingerprint == open_text_encoder("embedded", TextInput(256, 8)).fingerprint
    assert "wordllama" not in sys.modules


def test_words_of_like_meaning_have_like_states(encoder):
    states, mask = encoder(["dog", "puppy", "theorem"])
    dog, puppy, theorem = (states[row][mask[row]].mean(0) for row in range(3))
    near, far = torch.cosine_similarity(dog, puppy, 0), torch.cosine_similarity(dog, theorem, 0)
    assert near > far + 0.2


def test_another_width_is_refused():
    with pytest.raises(TextEncoderError, match=r"'embedded' gives states of width 256, but .* width 2048"):
        open_text_encoder("embedded", load_entry("mdm-s64").graph.text)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(embedded_text, "find_spec", lambda name: None)
    with pytest.raises(TextEncoderError, match=r"wordllama .*pip install 'matryoshka-zoo\[text\]'"):
        open_text_encoder("embedded", TEXT)


def test_states_are_kept_and_found_again(encoder, tmp_path):
    told = []
    assert encode_dataset("noto-emoji-64", tmp_path, encoder, progress=lambda *given: told.append(given))[1] == 0
    assert sum(count for _, count in told) > 1500
    facts = json.loads((tmp_path / FACTS).read_text())
    assert facts["fingerprint"] == encoder.fingerprint and facts["complete"]
    kept = open_text_encoder(str(tmp_path), TEXT)
    assert isinstance(kept, EncodedText) and kept.fingerprint == encoder.fingerprint
    captions = ["Red Apple", "", "Thinking Face", "Red Apple"]
    for found, expected in zip(kept(captions), encoder(captions), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(pickle.loads(pickle.dumps(kept))(captions)[0], encoder(captions)[0])
    with pytest.raises(TextEncoderError, match="no states for the caption 'a caption that nobody wrote'"):
        kept(["a caption that nobody wrote"])
    with pytest.raises(TextEncoderError, match="are wanted"):
        EncodedText.open(tmp_path, TEXT, fingerprint="0" * 64)
    with pytest.raises(TextEncoderError, match="captions of 16 tokens, but the entry reads 8"):
        open_text_encoder(str(tmp_path), TextInput(256, 8))
    # Another encoder is not mixed in.
    other = open_text_encoder("embedded", TextInput(256, 8))
    with pytest.raises(TextEncoderError, match="its tokens is 16, not 8"):
        encode_dataset("noto-emoji-64", tmp_path, other)


def test_encoding_goes_on_where_it_stopped(encoder, tmp_path, monkeypatch):
    def stop(shard, count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_dataset("noto-emoji-64", tmp_path, encoder, progress=stop)
    with pytest.raises(TextEncoderError, match="not finished"):
        open_text_encoder(str(tmp_path), TEXT)
    written, _ = encode_dataset("noto-emoji-64", tmp_path, encoder)
    shard = next(tmp_path.glob("*.safetensors"))
    assert encode_dataset("noto-emoji-64", tmp_path, encoder) == (0, written)
    # What is damaged is encoded again.
    content = bytearray(shard.read_bytes())
    content[-7] ^= 1
    shard.write_bytes(content)
    assert encode_dataset("noto-emoji-64", tmp_path, encoder) == (1, written - 1)


def test_an_encoder_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TextEncoderError, match="no such folder"):
        open_text_encoder("./nowhere", TEXT)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TextEncoderError, match="no T5 encoder with its tokenizer") as caught:
        open_text_encoder(str(tmp_path), TEXT)
    assert "\n" not in str(caught.value)


def test_text_reaches_the_network_of_a_text_entry(encoder):
    import zoo

    model = zoo.build("mdm-nano.text")
    assert model.graph.text == TextInput(width=256, tokens=16, project=64) and model.graph.classes is None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    z = [torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(size)) for size in (64, 32, 16)]
    z = [x[:1].expand(3, -1, -1, -1) for x in z]
    states, mask = encoder(["a red apple", "a blue car", ""])
    with torch.no_grad():
        found = model(z, 500, text=states, text_mask=mask)
        none = model([x[:1] for x in z], 500)
    for level, without in zip(found, none, strict=True):
        assert (level[0] - level[1]).abs().max() > 1e-3
        # An empty caption is no text.
        torch.testing.assert_close(level[2:], without, atol=1e-5, rtol=1e-5)
