"""Data for tests of the registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.shards import encode, write_tar


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a shard of forty images in ten classes: reading it takes no time."""
    members: list[tuple[str, bytes]] = []
    for index in range(40):
        members.append((f"{index}.png", encode(Image.new("RGB", (16, 16), (6 * index, 100, 200)))))
        members.append((f"{index}.json", json.dumps({"category": f"class {index % 10}"}).encode()))
    return write_tar(tmp_path_factory.mktemp("data") / "images.tar", members)
