"""Texts without the secrets of the addresses in them."""

from __future__ import annotations

import pytest

from specs.addresses import shown_address, without_secrets
from specs.errors import SpecError
from specs.load import load_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read a/b.tar?X-Amz-Signature=s3cret now", "cannot read a/b.tar now"),
        ("a/b?page=2?token=s3cret&x", "a/b"),
        ("'a?access_key_id=s3cret' and b?page=2", "'a' and b?page=2"),
        ("is it there? yes", "is it there? yes"),
        ("./http://u:p@/u:p@/u:p@host:1/x?sig=1", "./http://host:1/x"),
    ],
)
def test_queries_of_paths(text, shown):
    assert without_secrets(text) == shown


@pytest.mark.parametrize("part", ["?.yaml", "accesskey", "?x-amz-", "a:", "http:/", "?token"])
def test_long_texts(part):
    """A search in quadratic time would take minutes."""
    text = part * (200_000 // len(part))
    assert text.startswith(without_secrets(text))


def test_many_errors_on_one_long_line(monkeypatch):
    """The line is searched for secrets once, not once for each error."""
    searched = []
    monkeypatch.setattr("specs.errors.without_secrets", lambda text: searched.append(text) or without_secrets(text))
    stages = ", ".join(f'"w{n}": 1' for n in range(2000))
    with pytest.raises(SpecError) as error:
        load_text(f'{{"name": "x", "resolution": 8, {stages}}}')
    assert str(error.value).count("^") >= 20
    assert sum(len(text) > 1000 for text in searched) == 1


def test_no_excerpt_of_a_long_line_with_a_secret():
    stages = ", ".join(f'"w{n}": 1' for n in range(2000))
    with pytest.raises(SpecError) as error:
        load_text(f'{{"name": "http://me:s3cret@host/x", {stages}}}')
    assert "s3cret" not in str(error.value)
    assert "    {" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["./http://u:p@/u:p@/u:p@host/x?sig=1", "http:///u:p@/u:p@h", "http://u:p@/", "a://@/@"]
)
def test_nothing_is_left_to_cut_out(text):
    assert without_secrets(without_secrets(text)) == without_secrets(text)
    assert shown_address(shown_address(text)) == shown_address(text)
