"""Images and videos that tables list: CSV, TSV, JSON, JSON Lines and parquet files, and metadata files in folders."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from builders.data.errors import DataError, PackError
from builders.data.packing.image_names import FolderNames, only_image
from builders.data.packing.layout import clean, clean_label
from builders.data.packing.source import Source
from builders.data.packing.tar_members import TarMembers
from builders.data.recognition.formats import extension_of
from builders.data.recognition.labels import whole_number
from builders.data.recognition.media import IMAGE, Media
from builders.data.recognition.split_folders import split_of
from builders.data.tables.columns import Columns, first_text, given_text
from builders.data.tables.table import Row, Table
from specs.addresses import shown_address
from specs.errors import quote

__all__ = ["FileFinder", "MemberFinder", "TableImages", "check_rows", "table_images"]

#: Number of rows that a message shows.
NAMED = 5
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")


class TableImages(NamedTuple):
    """The images that a table lists.

    Attributes:
        sources: Images, in the order of the rows.
        unfit: Why rows cannot be used, one text per row.
    """

    sources: tuple[Source, ...]
    unfit: tuple[str, ...]


def table_images(
    table: Table, columns: Columns, find: Callable[[Row, str], Source], media: Media = IMAGE
) -> TableImages:
    """Return the images or videos that the rows of a table list, with their captions, labels and groups.

    Args:
        table: Table.
        columns: Its columns by purpose.
        find: Returns the image of a row and its name; raises DataError if there is none.
        media: Kind of the files.

    Raises:
        PackError: A caption is a list or a mapping, or two rows list one image.
    """
    _check_texts(table, columns)
    as_numbers = all(_WHOLE.fullmatch(text) for row in table.rows if (text := given_text(row.fields, columns.label)))
    sources, unfit = [], []
    rows: dict[tuple[str, ...], Row] = {}
    for row in table.rows:
        try:
            source = find(row, _image_name(row, columns))
        except DataError as error:
            unfit.append(f"{table.place(row)}: {error}")
            source = Source(f"{clean(Path(table.path).name)}/.{row.number:08d}", table.path, "", problem=unfit[-1])
        else:
            where = () if source.is_file else (source.key, str(source.offset))
            first = rows.setdefault((source.path, *where), row)
            if first is not row:
                raise PackError(
                    f"{table.place(row)}: {source.path if source.is_file else source.origin} is listed twice (also in "
                    f"{table.unit} {first.number}); {media.indefinite} has one caption and one label"
                )
        label = given_text(row.fields, columns.label)
        sources.append(
            replace(
                source,
                caption=clean(given_text(row.fields, columns.caption)),
                category=clean_label(whole_number(label) if as_numbers else label) or source.category,
                group=clean(first_text(row.fields, columns.group)),
                split=split_of(first_text(row.fields, columns.split)) or source.split,
            )
        )
    return TableImages(tuple(sources), tuple(unfit))


def _image_name(row: Row, columns: Columns) -> str:
    if row.problem:
        raise DataError(row.problem)
    return first_text(row.fields, columns.image)


def check_rows(path: str, unfit: Sequence[str], total: int, limit: float) -> None:
    """Check that few enough rows cannot be used.

    Args:
        path: Path of the table or folder, for messages.
        unfit: Why rows cannot be used.
        total: Number of rows.
        limit: Largest share of rows that may be skipped.

    Raises:
        PackError: There are more.
    """
    if len(unfit) <= limit * total:
        return
    if len(unfit) == 1:
        raise PackError(unfit[0])
    more = f"; and {len(unfit) - NAMED} more" if len(unfit) > NAMED else ""
    skip = "" if len(unfit) == total else ". Fix them, or skip them with a higher --max-broken"
    listed = "; ".join(text.removeprefix(f"{path}, ") for text in unfit[:NAMED])
    raise PackError(f"{path}: {len(unfit)} of {total} rows cannot be used: {listed}{more}{skip}")


def check_name(name: str, wanted: Sequence[str], media: Media = IMAGE) -> None:
    """Check that a row names an image or video file.

    Raises:
        DataError: The name is missing, an address, or has another extension.
    """
    if not name:
        raise DataError(f"no {media.noun} path; looked for {', '.join(wanted)}")
    if _ADDRESS.match(name):
        raise DataError(
            f"{shown_address(name)} is an address; {media.noun}s are not downloaded ({media.downloader} does so)"
        )
    if not media.names(name):
        raise DataError(f"{quote(name)} is not a {', '.join(media.extensions)} file")


class FileFinder:
    """Finds images or videos by paths relative to the folder of a table.

    Args:
        folder: Folder of the table.
        columns: Columns of the table.
        media: Kind of the files.
    """

    def __init__(self, folder: Path, columns: Columns, media: Media = IMAGE) -> None:
        self.folder, self.columns, self.media = folder, columns, media
        self._tars = TarMembers()
        self._names = FolderNames(media)

    def __call__(self, row: Row, name: str) -> Source:
        """Return the image that a row names.

        Raises:
            DataError: The row names no image.
        """
        archive = first_text(row.fields, self.columns.archive)
        if name and not archive and not self.media.names(name) and not _ADDRESS.match(name):
            found = self._names.find(self.folder / name.replace("\\", "/"))
            name = name if found is None else str(Path(name).with_name(found))
        check_name(name, self.columns.image, self.media)
        extension = extension_of(name)
        if archive:
            tar = self.folder / archive
            offset, size = self._tars.find(tar, name)
            key = f"{Path(archive).name.partition('.')[0]}/{name.rpartition('.')[0]}"
            return Source(clean(key), str(tar), extension, offset=offset, size=size)
        name = self._existing(name)
        key = Path(name).with_suffix("").as_posix().lstrip("./") or str(row.number)
        if ".." in Path(key).parts:
            key = f"{row.number:08d}"
        return Source(clean(key), str(self.folder / name), extension)

    def _existing(self, name: str) -> str:
        """Return the name of the file, which may be written with the separators or the Unicode of another system."""
        if ("\\" in name or not name.isascii()) and not _exists(self.folder / name):
            slashes = name.replace("\\", "/")
            others = (slashes, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD")))
            return next((other for other in others if _exists(self.folder / other)), name)
        return name


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a NUL character
        return False


class MemberFinder:
    """Finds images or videos in a folder or archive by paths relative to a metadata file.

    Args:
        folder: Folder of the metadata file, relative to the source; "" for the source itself.
        files: Names of all images or videos.
        columns: Columns of the metadata file.
        source: Returns the image or video of a name.
        media: Kind of the files.
    """

    def __init__(
        self,
        folder: str,
        files: Collection[str],
        columns: Columns,
        source: Callable[[str], Source],
        media: Media = IMAGE,
    ) -> None:
        self.folder, self.files, self.columns, self.source, self.media = folder, files, columns, source, media
        self.found: set[str] = set()
        self._stems: dict[str, list[str]] = defaultdict(list)
        for file in files:
            self._stems[file.rpartition(".")[0]].append(file)

    def __call__(self, row: Row, name: str) -> Source:
        """Return the image that a row names.

        Raises:
            DataError: The row names no image of the source.
        """
        known = self.media.names(name) or _ADDRESS.match(name)
        short = posixpath.normpath(posixpath.join(self.folder, name.replace("\\", "/")))
        if name and not known and (found := only_image(self._stems.get(short, ()), self.media)):
            self.found.add(found)
            return self.source(found)
        check_name(name, self.columns.image, self.media)
        path = posixpath.normpath(posixpath.join(self.folder, name.replace("\\", "/")))
        if path.startswith(("../", "/")):
            raise DataError(f"{quote(name)} lies outside of the folder")
        if path not in self.files:
            raise DataError(f"no file {quote(path)}")
        self.found.add(path)
        return self.source(path)


def _check_texts(table: Table, columns: Columns) -> None:
    """Check that captions, and columns that the user names, are texts."""
    for purpose in ("caption", "label", "group"):
        names: Sequence[str] = getattr(columns, purpose)
        # A default column of labels may be a list with another meaning; captions must not be lost silently.
        if purpose != "caption" and purpose not in columns.asked:
            continue
        for row in table.rows:
            odd = next((name for name in names if name in row.fields and row.fields[name] is None), None)
            if odd is not None and not first_text(row.fields, names):
                raise PackError(f"{table.place(row)}: {odd!r} is a list or a mapping; a {purpose} must be one text")
