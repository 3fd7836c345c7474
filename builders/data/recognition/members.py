"""Which members of a tar file form a sample.

As in webdataset, the key of a member is its path up to the first dot of its name, and neighbours with one key form a
sample. Three things go beyond it:

- texts that are not neighbours of their image are joined to it, if only one image has their key;
- an image whose name contains dots (``v1.2_cat.png``) is a sample of its own, with the texts of that name;
- the image and the caption of a sample can be chosen by name (``input.jpg`` and ``outputs.txt``).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from builders.data.errors import DataError
from builders.data.recognition.formats import MEDIA
from builders.data.recognition.left_out import LeftOut

__all__ = ["ALL", "TEXTS", "Choice", "Name", "SampleMembers", "arrange", "parse_name"]

#: Extensions of texts that are read.
TEXTS = ("json", "txt", "cls", "caption")
#: What is before ``.txt`` in names of captions, such as ``0.caption.txt``.
CAPTIONS = ("caption", "text", "prompt")
#: Choice of image that makes each image a sample.
ALL = "*"
#: As webdataset parts a name: the key ends at the first dot.
_NAME = re.compile(r"((?:.*/|)[^./]+)\.([^/]*)", re.DOTALL)
OTHER_IMAGES, OTHER_TEXTS, ORPHANS = "further images of a sample", "further texts of a sample", "texts without an image"


class Name(NamedTuple):
    """The name of a member.

    Attributes:
        place: Position of the member in the tar file.
        base: Path up to the first dot.
        middle: What is between the first and the last dot; "" if there is one dot.
        suffix: What follows the last dot, lowercase.
    """

    place: int
    base: str
    middle: str
    suffix: str

    @property
    def extension(self) -> str:
        """What follows the first dot: ``input.jpg``."""
        return f"{self.middle}.{self.suffix}" if self.middle else self.suffix

    @property
    def key(self) -> str:
        """Path up to the last dot."""
        return f"{self.base}.{self.middle}" if self.middle else self.base

    @property
    def path(self) -> str:
        """Name of the member, with a lowercase suffix."""
        return f"{self.base}.{self.extension}"

    @property
    def is_image(self) -> bool:
        """Whether the member is an image or a video, not a text."""
        return self.suffix in MEDIA

    def is_called(self, name: str) -> bool:
        """Return whether a choice means this member: ``input.jpg``, ``input``, or ``jpg``."""
        return name.lower() in (self.extension.lower(), self.middle.lower(), self.suffix if not self.middle else "")


class Choice(NamedTuple):
    """Names of the members that are a sample's image, caption and label: ``input.jpg`` or ``input``.

    None means the usual ones; the image "*" makes each image a sample.
    """

    image: str | None = None
    caption: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class SampleMembers:
    """A sample: its key, and the positions of its members in the tar file by extension ("png", "txt")."""

    key: str
    members: Mapping[str, int]


def parse_name(place: int, name: str) -> Name | None:
    """Return the parts of a member's name; None if it has no extension, or its file is hidden."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    middle, _, suffix = found.group(2).rpartition(".")
    return Name(place, found.group(1), middle, suffix.lower())


def arrange(names: Sequence[Name], left_out: LeftOut, choice: Choice = Choice()) -> list[SampleMembers]:  # noqa: B008
    """Return the samples of a tar file.

    Args:
        names: Names of the images and texts, in the order of the tar file.
        left_out: Counts the members that belong to no sample.
        choice: Which members are the image, the caption and the label.

    Raises:
        DataError: It is not clear which members belong together, or which of several images is meant.
    """
    samples: list[SampleMembers] = []
    undecided: list[list[Name]] = []
    usual = choice == Choice()
    for group in _groups(names, left_out):
        if usual and (simple := _simple(group)) is not None:
            samples.append(simple)
            continue
        images = _images(group, choice, left_out)
        if images is None:
            undecided.append(group)
            images = [name for name in group if name.is_image]
        samples += _samples(group, images, choice, left_out)
    _check_undecided(undecided)
    return sorted(samples, key=lambda sample: min(sample.members.values()))


@dataclass
class _Group:
    """Members with one base that belong together."""

    names: list[Name]
    paths: set[str]
    #: Whether all images have more than one dot.
    dotted: bool

    def add(self, names: Sequence[Name], paths: set[str]) -> None:
        """Add members from elsewhere.

        Raises:
            DataError: The group has one of them.
        """
        twice = next((name.path for name in names if name.path in self.paths), None)
        if twice is not None:
            raise DataError(f"{twice}: there are two members of this name")
        self.names += names
        self.paths |= paths


def _groups(names: Sequence[Name], left_out: LeftOut) -> list[list[Name]]:
    """Return the members that share a key and lie together; texts from elsewhere are added to their image."""
    groups: list[_Group] = []
    texts: list[Name] = []
    by_base: dict[str, list[_Group]] = defaultdict(list)
    for base, neighbours in groupby(names, key=lambda name: name.base):
        run = list(neighbours)
        paths = _paths(run)
        images = [name for name in run if name.is_image]
        dotted = all(name.middle for name in images)
        before = by_base[base][-1] if by_base[base] else None
        if not images:
            texts += run
        elif before is not None and dotted and before.dotted and paths.isdisjoint(before.paths):
            # Images with named parts (0.input.jpg) that are no neighbours.
            before.add(run, paths)
        else:
            groups.append(_Group(run, paths, dotted))
            by_base[base].append(groups[-1])
    _add_texts(texts, by_base, left_out)
    return [group.names for group in groups]


def _add_texts(texts: Sequence[Name], by_base: Mapping[str, Sequence[_Group]], left_out: LeftOut) -> None:
    """Add texts that are not beside their image to its group."""
    wanted = {text.base for text in texts}
    by_key: dict[str, list[_Group]] = defaultdict(list)
    for base in wanted:
        for group in by_base.get(base, ()):
            for key in {name.key for name in group.names if name.is_image}:
                by_key[key].append(group)
    for text in texts:
        found = by_key.get(text.key) or by_base.get(text.base, ())
        if len(found) > 1:
            raise DataError(
                f"{text.path}: is not beside its image, and {len(found)} images have its key; sort the members of the "
                "tar file (tar --sort=name)"
            )
        if found:
            found[0].add([text], {text.path})
        else:
            left_out.add(ORPHANS, text.path)


def _paths(run: Sequence[Name]) -> set[str]:
    """Return the names of neighbours, after checking that they differ."""
    paths = {name.path for name in run}
    if len(paths) < len(run):
        counts = Counter(name.path for name in run)
        twice = next(path for path, count in counts.items() if count > 1)
        raise DataError(f"{twice}: there are two members of this name")
    return paths


def _simple(group: Sequence[Name]) -> SampleMembers | None:
    """Return the sample of a group without further dots in its names and with one image; None for other groups."""
    members = {name.suffix: name.place for name in group if not name.middle}
    images = sum(name.is_image for name in group)
    return SampleMembers(group[0].base, members) if images == 1 and len(members) == len(group) else None


def _images(group: Sequence[Name], choice: Choice, left_out: LeftOut) -> list[Name] | None:
    """Return the images of a group that are samples; None if only the other groups tell."""
    images = list(_preferred([name for name in group if name.is_image], left_out))
    if choice.image == ALL:
        return images
    if choice.image is not None:
        chosen = [name for name in images if name.is_called(choice.image)][:1]
        for name in images:
            if name not in chosen:
                left_out.add(OTHER_IMAGES if chosen else f"images of samples without {choice.image!r}", name.path)
        return chosen
    with_texts = {name.middle for name in group if not name.is_image}
    if not images[0].middle:
        for name in images[1:]:
            if name.middle not in with_texts:
                left_out.add(OTHER_IMAGES, name.path)
        return [images[0], *(name for name in images[1:] if name.middle in with_texts)]
    if len(images) == 1 or all(name.middle in with_texts for name in images):
        return images
    return None


def _preferred(images: Sequence[Name], left_out: LeftOut) -> Iterator[Name]:
    """Yield the preferred image of each name, that without a middle first."""
    best: dict[str, Name] = {}
    for name in sorted(images, key=lambda name: (bool(name.middle), MEDIA.index(name.suffix))):
        if name.middle in best:
            left_out.add(OTHER_IMAGES, name.path)
        best.setdefault(name.middle, name)
    yield from best.values()


def _samples(group: Sequence[Name], images: Sequence[Name], choice: Choice, left_out: LeftOut) -> list[SampleMembers]:
    """Return the samples of a group, one per image."""
    texts = [name for name in group if not name.is_image]
    by_middle: dict[str, list[Name]] = defaultdict(list)
    for text in texts:
        by_middle[text.middle].append(text)
    used: set[int] = set()
    named = _chosen(texts, choice, used) if images else {}
    samples = []
    for image in images:
        members = {image.suffix: image.place}
        # A text with the key alone belongs to the image with the key alone, or to the only image.
        middles = ["", image.extension, image.middle] if len(images) == 1 else [image.extension, image.middle]
        for text in (text for middle in dict.fromkeys(middles) for text in by_middle.get(middle, ())):
            members[text.suffix] = text.place
            used.add(text.place)
        members |= named
        if len(images) == 1 and not {"txt", "caption"} & {*members}:
            for text in (text for middle in CAPTIONS for text in by_middle.get(middle, ())[:1] if text.suffix == "txt"):
                members.setdefault("txt", text.place)
                used.add(text.place)
        chosen = choice.image not in (None, ALL)
        samples.append(SampleMembers(image.base if chosen else image.key, members))
    rest = [text for text in texts if text.place not in used]
    if rest and len(images) == 1 and images[0].middle and not used and choice.image != ALL:
        names = ", ".join(text.extension for text in rest)
        raise DataError(
            f"{images[0].path}: has no text of its name, but there are texts of its key ({names}); choose one with "
            f"zoo data pack --image {images[0].extension} --caption {rest[0].extension}"
        )
    for text in rest:
        left_out.add(OTHER_TEXTS if images else ORPHANS, text.path)
    return samples


def _chosen(texts: Sequence[Name], choice: Choice, used: set[int]) -> dict[str, int]:
    """Return the texts that are chosen by name, under the extension of what they are read as."""
    members = {}
    for wanted, extension in ((choice.caption, "txt"), (choice.category, "cls")):
        found = None if wanted is None else next((text for text in texts if text.is_called(wanted)), None)
        if found is not None:
            members["json" if found.suffix == "json" else extension] = found.place
            used.add(found.place)
    return members


def _check_undecided(groups: Sequence[Sequence[Name]]) -> None:
    """Check that groups with several images are names with dots, and not several images of one sample."""
    if not groups:
        return
    sets = Counter(frozenset(name.extension for name in group if name.is_image) for group in groups)
    extensions, count = sets.most_common(1)[0]
    shared = next((group for group in groups if _has_shared_text(group)), None)
    if shared is None and (count == 1 or 2 * count <= len(groups)):
        return
    example = shared or next(g for g in groups if {name.extension for name in g if name.is_image} == extensions)
    names = ", ".join(name.path for name in example[:4])
    first = next(name.extension for name in example if name.is_image)
    text = next((name.extension for name in example if not name.is_image and name.middle), None)
    raise DataError(
        f"samples have several images, such as {names}; choose one with zoo data pack --image {first}"
        f"{f' --caption {text}' if text else ''}, or make each image a sample with --image '{ALL}'"
    )


def _has_shared_text(group: Sequence[Name]) -> bool:
    """Return whether a group has a text that belongs to none of its images by name."""
    middles = {name.middle for name in group if name.is_image}
    return any(not name.is_image and name.middle not in middles for name in group)
