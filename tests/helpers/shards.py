"""Shards made up for tests."""

from __future__ import annotations

import io
import json
import tarfile

from PIL import Image


def encode(image, form="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def samples(count, size=(8, 8), form="PNG", **facts):
    for index in range(count):
        colour = (index * 7 % 256, 100, 200)
        yield f"{index:04}.{form.lower()}", encode(Image.new("RGB", size, colour), form)
        category = ("cat", "dog")[index % 2]
        yield f"{index:04}.json", json.dumps({"caption": f"no. {index}", "category": category} | facts).encode()


def write_shard(folder, labels, caption="", name="a.tar"):
    """Write a shard with an image of one color per label; about one in ten is for validation."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / name, "w") as tar:
        for number, label in enumerate(labels):
            image = io.BytesIO()
            Image.new("RGB", (16, 16), (5 * number, 90, 120)).save(image, "PNG")
            facts = {"category": label, "caption": caption and f"{caption} {number}"}
            facts = {key: value for key, value in facts.items() if value}
            for extension, content in (("png", image.getvalue()), ("json", json.dumps(facts).encode())):
                info = tarfile.TarInfo(f"{number:04d}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return folder
