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
