"""Layouts of folders of images or videos: classes, splits, img2dataset, and StyleGAN."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from builders.data.dataset_card import sort_classes
from builders.data.errors import DataError
from builders.data.packing.edm import EDM, edm_labels
from builders.data.packing.layout import Layout, Listing, Recognised, clean_label, listed
from builders.data.packing.sidecars import Sidecars, box_notes
from builders.data.packing.source import PackError
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.other_files import other_files
from builders.data.recognition.split_folders import SplitFolders, common_depth, find_splits

__all__ = ["FOLDER", "FolderLabels", "find_labels", "recognise_images"]

#: ``--label`` that makes the names of folders the labels, whatever they look like.
FOLDER = "folder"
#: ``--label`` for no labels.
NONE = "none"
#: Folders whose name says only that they hold the images or videos.
WRAPPERS = {
    "image": frozenset(("images", "image", "imgs", "img", "jpegimages")),
    "video": frozenset(("videos", "video", "clips")),
}
_NUMBER = re.compile(r"\d{4,}")
_STYLEGAN = re.compile(r"img\d{8}")


@dataclass(frozen=True, slots=True)
class FolderLabels:
    """Labels of the images of a folder.

    Attributes:
        text: Where they come from; "" if there are none.
        by_path: Labels by path; None if the names of folders are the labels.
    """

    text: str
    by_path: Mapping[str, str] | None = None

    def of(self, name: str, path: str) -> str:
        """Return the label of an image, whose path without the folder of its split is given too."""
        if self.by_path is not None:
            return self.by_path.get(name, "")
        return path.partition("/")[0] if self.text and "/" in path else ""


def recognise_images(listing: Listing, label: str | None = None, caption: str | None = None) -> Recognised:
    """Return the files of a folder or an archive, with the labels, captions and splits that its layout gives.

    Args:
        listing: Files of the folder or archive.
        label: "folder" makes the names of folders the labels, also where they look like splits or numbers of shards;
            "none" gives no labels; another name is a key of the JSON beside an image.
        caption: Key of captions in the JSON beside an image. Default: its text file, or the usual keys of its JSON.

    Raises:
        PackError: There are no images, or the layout is ambiguous.
    """
    images = [name for name in listing.files if listing.media.names(name)]
    left_out = other_files(listing.files, listing.left_out, listing.media)
    if not images:
        raise PackError(_no_images(listing, left_out))
    forced = label == FOLDER
    try:
        splits = SplitFolders() if forced else find_splits(images, listing.name)
    except DataError as error:
        raise PackError(str(error)) from None
    paths = {name: splits.of(name)[1] for name in images}
    if not forced:
        paths = _unwrapped(paths, WRAPPERS[listing.media.noun])
    if label == NONE:
        labels = FolderLabels("", {})
    else:
        labels = FolderLabels("folders") if forced else find_labels(listing, paths, left_out)
    sidecars = Sidecars(listing, caption, label if label not in (FOLDER, NONE) else None)
    sources = []
    for name in images:
        source = listing.source(name, category=clean_label(labels.of(name, paths[name])), split=splits.of(name)[0])
        sources.append(sidecars.add(source, name))
    captions = sum(bool(source.caption) for source in sources)
    layout = Layout(
        kind=f"{listing.name}: folder of {len(images):,} {listing.media.noun}{'s' * (len(images) != 1)}",
        labels=_described(labels, [source.category for source in sources], sidecars.label),
        captions=f"files beside the {listing.media.noun}s ({captions:,})" if captions else "",
        splits=tuple(
            f"{split} ({count:,})" for split, count in Counter(source.split for source in sources).items() if split
        ),
        left_out=left_out.lines(),
        notes=(*listing.notes, *box_notes([source.caption for source in sources])),
    )
    return Recognised(tuple(sources), layout)


def _described(labels: FolderLabels, categories: Sequence[str], key: str | None) -> str:
    """Return where labels come from, with the classes and the number of images without one."""
    origin = f"{key!r} in JSON" if key else labels.text
    classes = sort_classes(categories)
    if not classes:
        return "" if labels.by_path is None else origin
    without = categories.count("")
    return f"{origin} ({listed(classes)}{f'; no label: {without:,}' if without else ''})"


def _no_images(listing: Listing, left_out: LeftOut) -> str:
    others = f"; {'; '.join(left_out.lines())}" if left_out else ""
    media = listing.media
    return f"{listing.name}: no {media.noun}s ({', '.join(media.extensions)}) in this folder{others}"


def _unwrapped(paths: Mapping[str, str], wrappers: Collection[str]) -> dict[str, str]:
    """Return paths without the folders that hold all images, which are no labels.

    A folder that holds images directly is one only if its name says no more.
    """
    depth = common_depth(paths.values())
    inner = {name: path.split("/", depth)[-1] for name, path in paths.items()}
    first = {path.partition("/")[0].lower() if "/" in path else "" for path in inner.values()}
    wrapped = len(first) == 1 and first <= {*wrappers}
    return {name: path.partition("/")[2] if wrapped else path for name, path in inner.items()}


def find_labels(listing: Listing, paths: Mapping[str, str], left_out: LeftOut) -> FolderLabels:
    """Return where the labels of a folder come from.

    Args:
        listing: Files of the folder.
        paths: Paths of the images without folders of splits, by name.
        left_out: Counts the images and labels that do not match.

    Raises:
        PackError: The names of folders may be labels or numbers of shards.
    """
    labels = _edm(listing)
    if labels is not None:
        for name in sorted(set(labels) - set(paths)):
            left_out.add(f"images that {EDM} lists and that are missing", name)
        for name in paths:
            if labels and name not in labels:
                left_out.add(f"labels missing in {EDM}", name)
        return FolderLabels(EDM if labels else "", labels)
    folders = {path.partition("/")[0] for path in paths.values() if "/" in path}
    if not folders or not all(_NUMBER.fullmatch(folder) for folder in folders):
        return FolderLabels("folders")
    if _are_shards(listing, paths, folders):
        return FolderLabels("", {})
    raise PackError(
        f"{listing.name}: the folders {listed(sorted(folders))} look like numbers of shards, which are no labels. If "
        f"they are labels, add --label {FOLDER}; if not, add --label {NONE}"
    )


def _edm(listing: Listing) -> dict[str, str] | None:
    """Return the labels of the ``dataset.json`` of a folder, or of folders in it; None if there is none."""
    found: dict[str, str] | None = None
    for name in listing.files:
        folder, _, file = name.rpartition("/")
        labels = edm_labels(listing.read(name), f"{listing.name}/{name}") if file == EDM else None
        if labels is not None:
            prefix = f"{folder}/" if folder else ""
            found = (found or {}) | {f"{prefix}{path}": label for path, label in labels.items()}
    return found


def _are_shards(listing: Listing, paths: Mapping[str, str], folders: set[str]) -> bool:
    """Return whether folders with numbers are those of img2dataset or StyleGAN."""
    beside = {f"{folder}{end}" for folder in folders for end in ("_stats.json", ".parquet")}
    if beside & {name.rpartition("/")[2] for name in listing.files}:
        return True
    names = [path.split("/") for path in paths.values() if "/" in path]
    stems = [(folder, name.rpartition(".")[0]) for folder, *_, name in names]
    return all(_STYLEGAN.fullmatch(stem) for _, stem in stems) or all(
        stem.isdecimal() and len(stem) > len(folder) and stem.startswith(folder) for folder, stem in stems
    )
