"""Users, passwords and signatures of addresses: in no file, no MLflow store and no output."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from builders.data.errors import DataError
from builders.data.mixture import Mixture
from builders.data.open import open_dataset
from specs.addresses import secrets_of, shown_address, without_secrets
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, public
from tests.helpers.shards import samples, write_tar
from tests.helpers.web import send, serving

SECRETS = ("hunter2", "s3cr3t")
SHORT = [
    "entry=mdm-micro", "drop={classes: 0.1}", "phases.p8.steps=2", "phases.p8.batch=2", "phases.p16.steps=2",
    "phases.p16.batch=2", "every={checkpoint: 0, evaluate: 2, samples: 0}",
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://me:hunter2@h:80/a/b.tar?X-Amz-Signature=s3cr3t&x=1#f", "http://h:80/a/b.tar"),
        ("s3://KEY:s3/cr3t@bucket/x.tar", "s3://bucket/x.tar"),
        ("http://me:hunter2?s3cr3t@h/x.tar", "http://h/x.tar"),
        ("HTTPS://hunter2@H/s-{00..12}.tar?sig=s3cr3t", "HTTPS://H/s-{00..12}.tar"),
        ("http://[::1]:80/x.tar#s3cr3t", "http://[::1]:80/x.tar"),
        ("simplecache::http://me:hunter2@h/x.tar?sig=s3cr3t", "simplecache::http://h/x.tar"),
        ("http:/me:hunter2@h/x.tar?sig=s3cr3t", "http:/h/x.tar"),
        ("h.com/x.tar?X-Amz-Signature=s3cr3t", "h.com/x.tar"),
        ("hf://datasets/a/b@main/c.tar", "hf://datasets/a/b@main/c.tar"),
        ("file:///what?/x#1.tar", "file:///what?/x#1.tar"),
        ("what?/x.tar", "what?/x.tar"),
        ("http://h:8000/a@b.tar", "http://h:8000/a@b.tar"),
    ],
)
def test_addresses_as_they_are_shown(given, shown):
    assert shown_address(given) == shown == shown_address(shown)
    for sentence in ("{}", "cannot read {}: no", "({}), that is '{}'."):
        text = without_secrets(sentence.format(given, given))
        assert text == sentence.format(shown, shown) or "com" in given
        assert not any(secret in text for secret in ("hunter2", "s3cr3t", "cr3t"))


def test_secrets_are_also_known_unquoted():
    assert {"a b@c", "a%20b%40c"} < set(secrets_of("http://me:a%20b%40c@h/x"))


def files_with(folder: Path, texts) -> list[str]:
    """The files of a folder in which a text is, in their names or contents."""
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if any(text.encode() in content or text in str(path.relative_to(folder)) for text in texts):
            found.append(str(path))
    return found


@pytest.mark.slow
def test_a_training_from_a_signed_address(cli, uri, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    letters = "abcdefghij"
    members = [
        (name, content)
        for number, letter in enumerate(letters)
        for name, content in (
            (f"{number}{name}", content) for name, content in samples(2, caption="a", category=letter)
        )
    ]
    content = write_tar(tmp_path / "served.tar", members).read_bytes()
    said = ""

    def answer(handler):
        allowed = handler.headers.get("Authorization", "").startswith("Basic ") and "Signature=s3cr3t" in handler.path
        send(handler, content if allowed else b"no", 200 if allowed else 403)

    def call(*arguments, code=0):
        nonlocal said
        got, out, err = cli(*arguments)
        said += out + err
        assert got == code, err
        return out + err

    with serving(answer) as (host, asked):
        address = f"http://me:hunter2@{host}/set/part.tar?X-Amz-Signature=s3cr3t&X-Amz-Date=1"
        changes = [f"--set={change}" for change in [*SHORT, f"data={{'{address}': 1}}"]]
        call("train", "micro-test", *changes, "--output", "run")
        # It is finished, and with another signature nothing is downloaded again.
        other = [change.replace("Date=1", "Date=2") for change in changes]
        call("train", "micro-test", *other, "--output", "run")
        assert len(asked) == 1
        call("data", "inspect", address)
        call("data", "inspect", address, "--json")
        call("sample", "run", "--steps", "2", "--count", "1", "--class", "a", "--output", "out")
        # Errors: refused, misspelt, not an address that is read, in a recipe that is wrong.
        for broken in (
            address.replace("part", "other").replace("Signature", "Signed"),
            address.replace("http:", "http:/", 1).replace("///", "/"),
            f"simplecache::{address}", address.replace("http", "nosuch"), f"{address}{{3..1}}",
        ):  # fmt: skip
            call("data", "inspect", broken, code=2)
        refused = call("data", "inspect", address.replace("part", "third").replace("Signature", "Signed"), code=2)
        assert "third.tar: cannot be fetched: the server refuses access (403" in refused and "again" in refused
        Path("bad.yaml").write_text(f"name: bad\nentry: mdm-micro\ndata: ['{address}']\nphases: {{}}\n")
        call("train", "./bad.yaml", code=2)
        Path("bad.yaml").unlink()
        call("train", address, code=2)
        call("train", "micro-test", f"--set=data.x={address}", code=2)
    assert not files_with(tmp_path, SECRETS)
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        assert f"http://{host}/set/part.tar" in "\n".join(store.iterdump())
    assert not any(secret in said for secret in SECRETS)


def test_the_parts_of_a_mixture_stay_apart(tmp_path):
    address = "http://me:hunter2@h/get.tar?id={}&token=s3cr3t"
    recipe = load_recipe("micro-test", [f"data={{'{address.format(1)}': 1, '{address.format(2)}': 2}}"])
    assert public(recipe).data == {"http://h/get.tar": 1.0, "http://h/get.tar#2": 2.0}
    assert (
        fingerprint(public(recipe)) == fingerprint(recipe) and recipe.data_name == "http://h/get.tar+http://h/get.tar"
    )
    dataset = open_dataset(write_tar(tmp_path / "a.tar", list(samples(2))))
    assert Mixture({address: dataset}, {address: 1.0}).card.name == "http://h/get.tar"
    with pytest.raises(DataError) as found:
        Mixture({address: dataset}, {address: -1.0})
    assert "s3cr3t" not in str(found.value)
