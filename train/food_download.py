"""The archive of the photos of pizza, steak and sushi: downloaded, unpacked to one side, checked, then renamed."""

import hashlib
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from train.dataset import DataError, MissingDataError
from train.download import DownloadError, Source, download
from train.one_at_a_time import one_at_a_time
from train.recipes.food import FOOD_LABELS

SOURCE = "https://github.com/mrdbourke/pytorch-deep-learning/raw/main/data/pizza_steak_sushi.zip"
SPLITS = ("train", "test")
# Over names and bytes of the 300 photos: what is unpacked counts, however it was packed.
SHA256 = "16630b95c82fff6f4f865dfa62e34506ea9fe0739b5e897344028231666b6cd8"
MOST_ARCHIVE_BYTES = 64 << 20
MOST_PHOTO_BYTES = 1 << 20
MOST_PHOTOS = 400
# The others of a zip file (bzip2, LZMA) have no part in the archive, and unpack more than they say before one can stop.
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# What zipfile raises for damaged archives, as found by changing their bytes.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError, OSError),
)


def download_food(folder: Path) -> None:
    """Put the photos into a folder that does not exist yet; it is there whole and right, or not at all.

    Raises:
        MissingDataError: the archive cannot be downloaded; says how to get it by hand.
        DataError: the archive holds something else.
    """
    archive = folder.with_name(f".{folder.name}.zip")  # hidden: not to be mixed up with one that the user put there
    try:
        with one_at_a_time(folder.parent):
            if not folder.exists():  # another process may have brought it meanwhile
                _bring(archive, folder)
    except (DownloadError, OSError) as error:
        raise MissingDataError(
            f"{folder} does not exist, and the photos cannot be downloaded ({' '.join(str(error).split())}); unpack "
            f"{SOURCE} into {folder}, or give --data-root where {folder.name} is"
        ) from error


def _bring(archive: Path, folder: Path) -> None:
    try:
        download(Source(url=SOURCE, most_bytes=MOST_ARCHIVE_BYTES), archive)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            unpacked = Path(temporary) / folder.name
            unpack(archive, unpacked)
            unpacked.rename(folder)
    finally:
        archive.unlink(missing_ok=True)  # right, and unpacked by now; or wrong, and of no use


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the photos of an archive, and only those, into a new folder.

    Raises:
        DataError: a member would leave the folder, is too large or damaged; or all in all they are other photos.
    """
    photos: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                name = _place(member)
                if name is None:
                    continue
                if member.file_size > MOST_PHOTO_BYTES or len(photos) == MOST_PHOTOS or name in photos:
                    raise DataError(
                        f"the archive has {member.filename} of {member.file_size:,} bytes after {len(photos)} others, "
                        f"but at most {MOST_PHOTOS} different photos of at most {MOST_PHOTO_BYTES:,} bytes were "
                        "expected; it is not used"
                    )
                if member.compress_type not in METHODS:
                    raise DataError(
                        f"the archive has {member.filename} packed by method {member.compress_type}, but stored or "
                        "deflated members were expected; it is not used"
                    )
                photos[name] = packed.read(member)  # never more than the size that was just looked at
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"the archive of photos cannot be unpacked: {error}; run again to download it anew") from error
    found = digest_photos(sorted(photos.items(), key=lambda item: _order(item[0])))
    if found != SHA256:
        raise DataError(
            f"the archive holds {len(photos)} photos with sha256 {found[:12]}…, but {SHA256[:12]}… was expected; "
            f"they are not used: if you want them, unpack {SOURCE} by hand"
        )
    for name, content in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def digest_photos(photos: Iterable[tuple[str, bytes]]) -> str:
    """Return the sha256 over names ``split/class/file`` and bytes, in the order given."""
    digest = hashlib.sha256()
    for name, content in photos:
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _place(member: zipfile.ZipInfo) -> str | None:
    """Return a photo's ``split/class/file``, or None for what is no photo of a class and is passed over.

    Raises:
        DataError: the member's name would lead out of the folder.
    """
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename:
        raise DataError(f"the archive has {member.filename!r}, which would leave its folder; it is not used")
    split, label, file = ("", "", "", *path.parts)[-3:]
    is_photo = split in SPLITS and label in FOOD_LABELS and file.endswith(".jpg") and not file.startswith(".")
    return f"{split}/{label}/{file}" if is_photo and "__MACOSX" not in path.parts and not member.is_dir() else None


def _order(name: str) -> tuple[int, int, str]:
    split, label, file = name.split("/")
    return SPLITS.index(split), FOOD_LABELS.index(label), file
