"""Images or videos: their extensions, and what is said where one kind is found instead of the other."""

from __future__ import annotations

from dataclasses import dataclass

from builders.data.recognition.formats import IMAGES, OTHER_IMAGES, VIDEOS, extension_of

__all__ = ["CLIP_OPTIONS", "IMAGE", "VIDEO", "Media", "mixed_kinds", "wrong_kind"]

#: Options with which videos are packed, as an example.
CLIP_OPTIONS = "--frames 16 --rate 8 --resolution 64"
#: Options that a pack of videos needs.
NEEDED = f"--frames, --rate and --resolution, such as {CLIP_OPTIONS}"


@dataclass(frozen=True, slots=True)
class Media:
    """What a source holds.

    Attributes:
        noun: "image" or "video".
        extensions: Extensions of the files that are read.
        known: All extensions by which such a file is recognised, whether it is read or not.
        downloader: Program that downloads such files from a table of addresses.
        option: Option that names the column of paths.
    """

    noun: str
    extensions: tuple[str, ...]
    known: tuple[str, ...]
    downloader: str
    option: str

    @property
    def indefinite(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun == 'image' else 'a'} {self.noun}"

    def names(self, path: str) -> bool:
        """Return whether a path has one of the extensions that are read."""
        return extension_of(path) in self.extensions

    def looks_like(self, text: str) -> bool:
        """Return whether a text ends like the name of such a file, whether it is read or not."""
        return text.lower().endswith(tuple(f".{extension}" for extension in self.known))


IMAGE = Media("image", IMAGES, (*IMAGES, *OTHER_IMAGES), "img2dataset", "--image")
VIDEO = Media("video", VIDEOS, VIDEOS, "video2dataset", "--video")


def wrong_kind(where: str, example: str, wanted: Media) -> str:
    """Return that a source holds the other kind of media, and what to do.

    Args:
        where: Name of the source.
        example: Name of one of its files.
        wanted: Kind that was expected.
    """
    if wanted is IMAGE:
        return f"{where}: holds videos (such as {example}), not images; to pack clips of them, add {NEEDED}"
    return (
        f"{where}: holds images (such as {example}), not videos; to pack them, leave out --frames, --rate and the "
        "other options of clips"
    )


def mixed_kinds(where: str, image: str, video: str) -> str:
    """Return that a source holds both kinds of media, and what to do for either.

    Args:
        where: Name of the source.
        image: Name of one of its images.
        video: Name of one of its videos.
    """
    return (
        f"{where}: holds images (such as {image}) and videos (such as {video}), and either could be the data; a "
        f"dataset has one kind. For the images, remove the videos and give no --frames; for the videos, remove the "
        f"images and add {NEEDED}"
    )
