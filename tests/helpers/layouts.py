"""Images with captions and labels, written in the layouts that other tools use."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.helpers.shards import encode, write_tar

CAPTIONS = ("plain", "a red, round thing", 'he said "no"', "semi; tab\tpipe |", "猫 é 🙂", "two\nlines", " 7 ", "")


@dataclass(frozen=True)
class Sample:
    """An image with its caption and label.

    Attributes:
        name: Name without an extension.
        content: Bytes of the image.
        caption: Caption, "" if there is none.
        label: Name of the class, "" if there is none.
    """

    name: str
    content: bytes
    caption: str
    label: str

    @property
    def facts(self) -> dict[str, str]:
        """The caption and label, as JSON of shards names them."""
        return {"caption": self.caption, "label": self.label}


def make_samples(form: str = "PNG", *, labels: tuple[str, ...] = ("cat", "dog", "a b")) -> list[Sample]:
    """Return 24 images of different colours."""
    return [
        Sample(
            f"{index:09d}",
            encode(Image.new("RGB", (8, 8), (index * 10, 255 - index * 10, 90)), form),
            f"{CAPTIONS[index % 8]}{index}" if index % 8 < 7 else "",
            labels[index % len(labels)] if labels else "",
        )
        for index in range(24)
    ]


def image_folder(root: Path) -> tuple[Path, list[Sample]]:
    """Folders of classes, with captions beside the images."""
    samples = make_samples()
    for sample in samples:
        folder = root / "set" / sample.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sample.name}.png").write_bytes(sample.content)
        if sample.caption:
            (folder / f"{sample.name}.txt").write_text(sample.caption, encoding="utf-8")
    return root / "set", samples


def metadata_csv(root: Path) -> tuple[Path, list[Sample]]:
    """Hugging Face's imagefolder with a metadata.csv."""
    samples = make_samples()
    (root / "set" / "images").mkdir(parents=True)
    with (root / "set" / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "text", "label"))
        for sample in samples:
            (root / "set" / "images" / f"{sample.name}.png").write_bytes(sample.content)
            writer.writerow((f"images/{sample.name}.png", sample.caption, sample.label))
    return root / "set", samples


def metadata_jsonl(root: Path) -> tuple[Path, list[Sample]]:
    """Hugging Face's imagefolder with a metadata.jsonl in the folder of each split."""
    samples = make_samples()
    for split, part in (("train", samples[:16]), ("validation", samples[16:])):
        (root / "set" / split).mkdir(parents=True)
        lines = []
        for sample in part:
            (root / "set" / split / f"{sample.name}.png").write_bytes(sample.content)
            lines.append(json.dumps({"file_name": f"{sample.name}.png", **sample.facts}))
        (root / "set" / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return root / "set", samples


def _img2dataset_facts(sample: Sample) -> dict[str, object]:
    return {"caption": sample.caption, "key": sample.name, "url": "https://example.com/x.jpg", "status": "success"}


def img2dataset_files(root: Path) -> tuple[Path, list[Sample]]:
    """img2dataset with output_format=files."""
    samples = make_samples("JPEG", labels=())
    (root / "set" / "00000").mkdir(parents=True)
    for sample in samples:
        base = root / "set" / "00000" / sample.name
        base.with_suffix(".jpg").write_bytes(sample.content)
        base.with_suffix(".txt").write_text(sample.caption, encoding="utf-8")
        base.with_suffix(".json").write_text(json.dumps(_img2dataset_facts(sample)), encoding="utf-8")
    (root / "set" / "00000_stats.json").write_text('{"count": 24}')
    return root / "set", samples


def img2dataset_webdataset(root: Path) -> tuple[Path, list[Sample]]:
    """img2dataset with output_format=webdataset."""
    samples = make_samples("JPEG", labels=())
    (root / "set").mkdir()
    members: list[tuple[str, bytes]] = []
    for sample in samples:
        members.append((f"{sample.name}.jpg", sample.content))
        members.append((f"{sample.name}.json", json.dumps(_img2dataset_facts(sample)).encode()))
        members.append((f"{sample.name}.txt", sample.caption.encode()))
    write_tar(root / "set" / "00000.tar", members)
    _write_parquet(root / "set" / "00000.parquet", {"key": [sample.name for sample in samples]})
    (root / "set" / "00000_stats.json").write_text('{"count": 24}')
    return root / "set", samples


def img2dataset_parquet(root: Path) -> tuple[Path, list[Sample]]:
    """img2dataset with output_format=parquet."""
    samples = make_samples("JPEG", labels=())
    (root / "set").mkdir()
    for number, part in enumerate((samples[:16], samples[16:])):
        columns: dict[str, list[object]] = {"jpg": [sample.content for sample in part]}
        for sample in part:
            for name, value in _img2dataset_facts(sample).items():
                columns.setdefault(name, []).append(value)
        _write_parquet(root / "set" / f"{number:05d}.parquet", columns)
        (root / "set" / f"{number:05d}_stats.json").write_text('{"count": 12}')
    return root / "set", samples


def stylegan_zip(root: Path) -> tuple[Path, list[Sample]]:
    """StyleGAN's and EDM's zip file: images in numbered folders, labels in dataset.json."""
    samples = [
        Sample(sample.name, sample.content, "", sample.label)
        for sample in make_samples(labels=tuple(map(str, range(12))))
    ]
    labels = []
    with zipfile.ZipFile(root / "set.zip", "w", zipfile.ZIP_STORED) as archive:
        for index, sample in enumerate(samples):
            name = f"{index // 10:05d}/img{index:08d}.png"
            archive.writestr(name, sample.content)
            labels.append([name, int(sample.label)])
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return root / "set.zip", samples


def hugging_face_parquet(root: Path) -> tuple[Path, list[Sample]]:
    """A data set of the Hugging Face Hub: images, texts and names of classes in parquet files."""
    samples = make_samples()
    names = sorted({sample.label for sample in samples})
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    (root / "set" / "data").mkdir(parents=True)
    for split, part in (("train", samples[:20]), ("test", samples[20:])):
        columns = {
            "image": [{"bytes": sample.content, "path": f"{sample.name}.png"} for sample in part],
            "label": [names.index(sample.label) for sample in part],
            "text": [sample.caption for sample in part],
        }
        path = root / "set" / "data" / f"{split}-00000-of-00001.parquet"
        _write_parquet(path, columns, {"huggingface": json.dumps({"info": {"features": features}})})
    return root / "set" / "data", samples


def _write_parquet(path: Path, columns: dict[str, list[object]], metadata: dict[str, str] | None = None) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path, row_group_size=7)


def _shard(root: Path, samples: list[Sample], members: Iterator[tuple[str, bytes]]) -> tuple[Path, list[Sample]]:
    return write_tar(root / "set.tar", list(members)), samples


def shard_json(root: Path) -> tuple[Path, list[Sample]]:
    """Shards with the caption and label of an image in its .json."""
    samples = make_samples()

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            yield f"{sample.name}.png", sample.content
            yield f"{sample.name}.json", json.dumps(sample.facts, ensure_ascii=False).encode()

    return _shard(root, samples, members())


def shard_txt(root: Path) -> tuple[Path, list[Sample]]:
    """Shards with captions in .txt and labels in .cls, in folders."""
    samples = make_samples("WEBP", labels=tuple(map(str, range(12))))

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            yield f"./part-0/{sample.name}.webp", sample.content
            yield f"./part-0/{sample.name}.txt", sample.caption.encode()
            yield f"./part-0/{sample.name}.cls", sample.label.encode()

    return _shard(root, samples, members())


def shard_cls_first(root: Path) -> tuple[Path, list[Sample]]:
    """Shards as ImageNet's: the label before the image, with a line end, and extensions in capitals."""
    samples = [Sample(s.name, s.content, "", s.label) for s in make_samples("JPEG", labels=("0", "1", "10"))]

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            yield f"{sample.name}.cls", f"{sample.label}\n".encode()
            yield f"{sample.name}.JPG", sample.content

    return _shard(root, samples, members())


def shard_dotted(root: Path) -> tuple[Path, list[Sample]]:
    """Shards with dots in the names of images, such as v1.2_0.jpg."""
    samples = make_samples()

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            yield f"v1.2_{sample.name}.png", sample.content
            yield f"v1.2_{sample.name}.json", json.dumps(sample.facts).encode()

    return _shard(root, samples, members())


def shard_texts_last(root: Path) -> tuple[Path, list[Sample]]:
    """Shards with all images before all texts, as tar writes two folders or sorted extensions."""
    samples = make_samples(labels=())

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            yield f"{sample.name}.png", sample.content
        for sample in samples:
            yield f"{sample.name}.txt", sample.caption.encode()

    return _shard(root, samples, members())


#: Layouts by the name that docs/data.md gives them.
LAYOUTS: dict[str, Callable[[Path], tuple[Path, list[Sample]]]] = {
    "image folder: `CLASS/NAME.png`, `NAME.txt`": image_folder,
    "image folder with `metadata.csv`": metadata_csv,
    "image folder with `metadata.jsonl` per split": metadata_jsonl,
    "img2dataset, `files`": img2dataset_files,
    "img2dataset, `webdataset`": img2dataset_webdataset,
    "img2dataset, `parquet`": img2dataset_parquet,
    "StyleGAN and EDM zip with `dataset.json`": stylegan_zip,
    "Hugging Face parquet": hugging_face_parquet,
    "WebDataset: `.png`, `.json`": shard_json,
    "WebDataset: `.webp`, `.txt`, `.cls` in folders": shard_txt,
    "WebDataset: `.cls` before `.JPG`": shard_cls_first,
    "WebDataset: dots in names": shard_dotted,
    "WebDataset: all texts after all images": shard_texts_last,
}


def decoded(content: bytes) -> bytes:
    """Return the pixels of an image."""
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB").tobytes()
