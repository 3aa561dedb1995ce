"""Downloads: whole and right, or not there; taken up again after a break; and every trouble in one sentence."""

import gzip
import hashlib
import http.client
import io
import re
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.train.archive_server import ArchiveServer, serve_archives
from train import fashion_mnist, food_download
from train.data import load_dataset
from train.dataset import DataError, MissingDataError
from train.download import ATTEMPTS, DownloadError, Source, _SafeRedirects, download
from train.fashion_mnist import read_fashion_mnist
from train.food import read_food
from train.food_download import SHA256, digest_photos, unpack
from train.one_at_a_time import one_at_a_time
from train.recipes.registry import RECIPES

CONTENT = bytes(range(256)) * 400


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve_archives() as state:
        state.files["/file"] = CONTENT
        yield state


def source_of(server: ArchiveServer, content: bytes = CONTENT) -> Source:
    return Source(url=f"{server.url}file", most_bytes=len(CONTENT), md5=md5_of(content))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_whole_file_is_at_its_target(tells_length: bool, server: ArchiveServer, tmp_path: Path) -> None:
    server.tells_length = tells_length
    download(source_of(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]
    assert server.asked == [("/file", None)]


def test_a_break_is_taken_up_where_it_was(server: ArchiveServer, tmp_path: Path) -> None:
    server.breaks = [70_000, 1000]
    download(source_of(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("/file", None), ("/file", "bytes=70000-"), ("/file", "bytes=71000-")]


def test_a_server_without_ranges_is_read_anew(server: ArchiveServer, tmp_path: Path) -> None:
    server.breaks, server.knows_ranges = [70_000], False
    download(source_of(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("/file", None), ("/file", "bytes=70000-")]


def test_the_next_call_goes_on_from_a_download_given_up(server: ArchiveServer, tmp_path: Path) -> None:
    server.breaks = [1000] * ATTEMPTS
    with pytest.raises(
        DownloadError,
        match=rf"^{server.url}file broke off after 3,000 bytes of 102,400 \(the connection was closed\); run again to",
    ):
        download(source_of(server), tmp_path / "file")
    assert names(tmp_path) == ["file.partial"]
    download(source_of(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked[-1] == ("/file", "bytes=3000-")


def test_what_was_whole_but_not_renamed_is(server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(CONTENT)
    download(source_of(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_partial_file_longer_than_the_whole_is_started_anew(server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(CONTENT + b"x")
    download(source_of(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("held", [b"", b"other bytes"], ids=["damaged", "resumed-from-another"])
def test_a_damaged_file_is_never_used(held: bytes, server: ArchiveServer, tmp_path: Path) -> None:
    if held:
        (tmp_path / "file.partial").write_bytes(held)
    else:
        server.files["/file"] = CONTENT[:-1] + b"x"
    with pytest.raises(DownloadError, match=r"file has md5 \w{12}…, but \w{12}… was expected; .* run again$"):
        download(source_of(server), tmp_path / "file")
    assert names(tmp_path) == []


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_file_that_is_too_long_is_refused(tells_length: bool, server: ArchiveServer, tmp_path: Path) -> None:
    server.files["/file"], server.tells_length = CONTENT * 2, tells_length
    with pytest.raises(DownloadError, match=r"bytes or more, but at most 102,400 were expected; it is not used$"):
        download(source_of(server), tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_missing_file_is_named(server: ArchiveServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"other cannot be had: the server says 404 Not Found$"):
        download(Source(url=f"{server.url}other", most_bytes=1), tmp_path / "file")
    assert names(tmp_path) == []


def test_no_server_is_named(tmp_path: Path, closed: str) -> None:
    with pytest.raises(DownloadError, match=r"^http://127.0.0.1:\d+/file cannot be reached: .*refused"):
        download(Source(url=f"{closed}file", most_bytes=1), tmp_path / "file")
    assert names(tmp_path) == []


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address at which nobody answers: bound, so that nobody else gets the port, and not listening."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/"


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        source = Source(url=f"http://127.0.0.1:{silent.getsockname()[1]}/file", most_bytes=1)
        with pytest.raises(DownloadError, match=r"cannot be reached: .*timed out"):
            download(source, tmp_path / "file", timeout_s=0.05)


@pytest.mark.parametrize("url", ["http://example.com/file", "ftp://127.0.0.1/file", "file:///etc/passwd"])
def test_only_https_is_downloaded_from(url: str, server: ArchiveServer, tmp_path: Path) -> None:
    sentence = re.escape(f"{url} is not HTTPS, but only HTTPS is downloaded from; get the file by hand")
    with pytest.raises(DownloadError, match=f"^{sentence}$"):
        Source(url=url, most_bytes=1)
    if url.startswith("file"):
        return  # urllib itself follows no such redirect
    server.redirect = url
    with pytest.raises(DownloadError, match=f"^{sentence}$"):
        download(source_of(server), tmp_path / "file")


def test_https_is_never_left_not_even_for_this_machine() -> None:
    def follow(begin: str) -> urllib.request.Request | None:
        request = urllib.request.Request(begin)
        headers = http.client.HTTPMessage()
        return _SafeRedirects().redirect_request(request, io.BytesIO(), 302, "Found", headers, "http://localhost/file")

    with pytest.raises(DownloadError, match=r"^http://localhost/file is not HTTPS, but only HTTPS is downloaded from"):
        follow("https://example.com/file")
    assert follow("http://127.0.0.1:1/file") is not None


@pytest.mark.parametrize("knows_if_range", [True, False])
def test_the_rest_of_a_changed_file_is_not_appended(
    knows_if_range: bool, server: ArchiveServer, tmp_path: Path
) -> None:
    server.etag, server.breaks = '"first"', [1000] * ATTEMPTS
    source = Source(url=f"{server.url}file", most_bytes=len(CONTENT))  # no digest: only the tag tells
    with pytest.raises(DownloadError, match="broke off after 3,000 bytes"):
        download(source, tmp_path / "file")
    assert names(tmp_path) == ["file.partial", "file.partial.etag"]
    server.files["/file"], server.etag, server.knows_if_range = CONTENT[::-1], '"second"', knows_if_range
    download(source, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("tag", ['"same"', 'W/"weak"', "not quoted"])
def test_a_file_with_any_tag_is_taken_up(tag: str, server: ArchiveServer, tmp_path: Path) -> None:
    server.etag, server.breaks = tag, [70_000]
    download(source_of(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("/file", None), ("/file", "bytes=70000-")]
    assert names(tmp_path) == ["file"]


# ---- two processes


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no lock of the kind")
def test_one_process_at_a_time_is_in_a_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from pathlib import Path; from train.one_at_a_time import one_at_a_time\n"
        "with one_at_a_time(Path(sys.argv[1])): (Path(sys.argv[1]) / 'second').touch()"
    )
    second: subprocess.Popen[str]
    with one_at_a_time(tmp_path):
        second = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        # said before it waits
        assert second.stderr.readline() == f"another process downloads into {tmp_path}; waiting for it\n"
        assert names(tmp_path) == []
    assert second.communicate()[1] == ""
    assert names(tmp_path) == ["second"]


@pytest.mark.parametrize("what", ["photos", "Fashion-MNIST"])
def test_what_another_process_brought_meanwhile_is_not_downloaded_again(
    what: str, mirror: ArchiveServer, zip_server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes between the look at the folder and the lock."""
    first = True
    read = read_fashion_mnist if what == "Fashion-MNIST" else lambda root: food_download.download_food(root / "photos")

    @contextmanager
    def after_another(folder: Path) -> Iterator[None]:
        nonlocal first
        if first:
            first = False
            read(tmp_path)
            mirror.asked.clear()
        with one_at_a_time(folder):
            yield

    for module in (food_download, fashion_mnist):
        monkeypatch.setattr(module, "one_at_a_time", after_another)
    read(tmp_path)
    assert mirror.asked == []
    assert names(tmp_path)


# ---- Fashion-MNIST


@pytest.fixture
def mirror(server: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> ArchiveServer:
    """Fashion-MNIST in small, on the second of two mirrors: the first has nothing."""
    files, archives = {}, {}
    for index, name in enumerate(fashion_mnist.FILES):
        rows = 3 + index // 2
        content = bytes(16) + bytes(range(28)) * 28 * rows if "images" in name else bytes(8) + bytes(range(rows))
        files[name] = (len(content), hashlib.sha256(content).hexdigest())
        server.files[f"/mirror/{name}.gz"] = gzip.compress(content, mtime=0)
        archives[name] = md5_of(server.files[f"/mirror/{name}.gz"])
    monkeypatch.setattr(fashion_mnist, "FILES", files)
    monkeypatch.setattr(fashion_mnist, "ARCHIVE_MD5", archives)
    monkeypatch.setattr(fashion_mnist, "MIRRORS", (f"{server.url}nothing/", f"{server.url}mirror/"))
    return server


def test_fashion_mnist_is_downloaded_checked_and_read(mirror: ArchiveServer, tmp_path: Path) -> None:
    dataset = read_fashion_mnist(tmp_path)
    assert (dataset.train.inputs.shape, dataset.test.inputs.shape) == ((3, 28, 28, 1), (4, 28, 28, 1))
    assert dataset.train.inputs[0, :, 5, 0].tolist() == [5] * 28
    assert dataset.test.targets.tolist() == [0, 1, 2, 3]
    assert names(tmp_path) == sorted(f"FashionMNIST/raw/{name}" for name in fashion_mnist.FILES)
    asked = len(mirror.asked)
    read_fashion_mnist(tmp_path)
    assert len(mirror.asked) == asked


def test_only_what_is_missing_is_downloaded(mirror: ArchiveServer, tmp_path: Path) -> None:
    read_fashion_mnist(tmp_path)
    mirror.asked.clear()
    (tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    read_fashion_mnist(tmp_path)
    assert [path for path, _ in mirror.asked] == [
        f"/{folder}/t10k-labels-idx1-ubyte.gz" for folder in ("nothing", "mirror")
    ]


def test_a_broken_download_of_fashion_mnist_is_kept_apart_and_taken_up(mirror: ArchiveServer, tmp_path: Path) -> None:
    mirror.breaks = [10**6, 10, 9, 1]
    with pytest.raises(
        MissingDataError,
        match=r"^Fashion-MNIST is not in .*raw and cannot be downloaded \(.*404.*; .*broke off after 20 bytes of 25.*\)"
        r"; put the four unpacked files of github.com/zalandoresearch/fashion-mnist there, or give --data-root where",
    ):
        read_fashion_mnist(tmp_path)
    assert names(tmp_path) == [
        "FashionMNIST/.download/train-images-idx3-ubyte.gz",
        "FashionMNIST/.download/train-labels-idx1-ubyte.gz.partial",
    ]
    mirror.asked.clear()
    assert len(read_fashion_mnist(tmp_path).train) == 3
    assert mirror.asked[1] == ("/mirror/train-labels-idx1-ubyte.gz", "bytes=20-")
    assert "/mirror/train-images-idx3-ubyte.gz" not in [path for path, _ in mirror.asked]


@pytest.mark.parametrize("right_md5", [False, True], ids=["archive", "content"])
def test_wrong_fashion_mnist_is_never_used(
    right_md5: bool, mirror: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "t10k-labels-idx1-ubyte"
    content = gzip.compress(bytes(12), mtime=0)
    mirror.files[f"/mirror/{name}.gz"] = content
    if right_md5:
        monkeypatch.setitem(fashion_mnist.ARCHIVE_MD5, name, md5_of(content))
    reason = "t10k-labels-idx1-ubyte has sha256" if right_md5 else "gz has md5"
    with pytest.raises(MissingDataError, match=rf"cannot be downloaded \(.*{reason} \w{{12}}…, but \w{{12}}… was"):
        read_fashion_mnist(tmp_path)
    assert not (tmp_path / "FashionMNIST" / "raw").exists()


def test_an_archive_that_unpacks_to_too_much_is_stopped(
    mirror: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "t10k-labels-idx1-ubyte"
    content = gzip.compress(bytes(10_000_000), mtime=0)
    monkeypatch.setattr(fashion_mnist, "FILES", {**fashion_mnist.FILES, name: (len(content), "0")})
    monkeypatch.setitem(fashion_mnist.ARCHIVE_MD5, name, md5_of(content))
    mirror.files[f"/mirror/{name}.gz"] = content
    with pytest.raises(MissingDataError, match=rf"has {len(content) + 1:,} bytes, but {len(content):,} were expected"):
        read_fashion_mnist(tmp_path)
    assert not (tmp_path / "FashionMNIST" / "raw").exists()


def test_fashion_mnist_without_a_network_says_how_to_get_it(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "MIRRORS", (closed,))
    with pytest.raises(
        MissingDataError, match=r"cannot be downloaded \(.*refused\); put the four unpacked files of github.com/"
    ):
        read_fashion_mnist(tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").rglob("*")] == []


# ---- photos


PHOTOS = [
    (f"{split}/{label}/{index}.jpg", f"{split} {label} {index}".encode())
    for split in ("train", "test")
    for label in ("pizza", "steak", "sushi")
    for index in (1, 2)
]


def pack(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(food_download, "SHA256", digest_photos(PHOTOS))


@pytest.fixture
def zip_server(server: ArchiveServer, expected: None, monkeypatch: pytest.MonkeyPatch) -> ArchiveServer:
    monkeypatch.setattr(food_download, "SOURCE", f"{server.url}photos.zip")
    server.files["/photos.zip"] = pack(dict(PHOTOS))
    return server


STRAYS = {
    "train/": b"",
    "train/pizza/.DS_Store": b"x",
    "train/pizza/._1.jpg": b"x",
    "__MACOSX/train/pizza/1.jpg": b"x",
    "train/salad/1.jpg": b"x",
    "valid/pizza/1.jpg": b"x",
    "README.txt": b"x" * (2 << 20),
    "1.jpg": b"x",
}


@pytest.mark.parametrize("prefix", ["", "pizza_steak_sushi/"])
def test_only_the_photos_are_unpacked(prefix: str, expected: None, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(pack({f"{prefix}{name}": content for name, content in [*reversed(PHOTOS), *STRAYS.items()]}))
    unpack(archive, tmp_path / "photos")
    assert names(tmp_path / "photos") == sorted(name for name, _ in PHOTOS)
    assert (tmp_path / "photos" / "test" / "sushi" / "2.jpg").read_bytes() == b"test sushi 2"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("../train/pizza/3.jpg", b"x", "which would leave its folder; it is not used", id="above"),
        pytest.param("/train/pizza/3.jpg", b"x", "which would leave its folder; it is not used", id="root"),
        pytest.param("..\\train\\pizza\\3.jpg", b"x", "which would leave its folder; it is not used", id="backslash"),
        pytest.param("C:/train/pizza/3.jpg", b"x", "which would leave its folder; it is not used", id="drive"),
        pytest.param(
            "train/pizza/3.jpg", bytes(2 << 20), "3.jpg of 2,097,152 bytes .* at most 1,048,576 bytes", id="bomb"
        ),
        pytest.param("other/train/pizza/1.jpg", b"x", "at most 400 different photos", id="twice"),
        pytest.param(
            "train/pizza/3.jpg", b"x", r"holds 13 photos with sha256 \w{12}…, but \w{12}… was expected", id="one-more"
        ),
    ],
)
def test_an_archive_of_something_else_is_refused(
    name: str, content: bytes, message: str, expected: None, tmp_path: Path
) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(pack({**dict(PHOTOS), name: content}))
    with pytest.raises(DataError, match=message):
        unpack(archive, tmp_path / "photos")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("content", [b"no archive", pack(dict(PHOTOS)).replace(b"train pizza 1", b"train pizza 9")])
def test_a_damaged_archive_is_named(content: bytes, expected: None, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"^the archive of photos cannot be unpacked: .*; run again to download it"):
        unpack(tmp_path / "a.zip", tmp_path / "photos")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(
    ("method", "number"),
    [pytest.param(zipfile.ZIP_BZIP2, 12, id="bzip2"), pytest.param(zipfile.ZIP_LZMA, 14, id="lzma")],
)
def test_only_stored_and_deflated_members_are_unpacked(
    method: int, number: int, expected: None, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(pack(dict(PHOTOS), zipfile.ZIP_DEFLATED))
    unpack(tmp_path / "a.zip", tmp_path / "deflated")
    (tmp_path / "a.zip").write_bytes(pack(dict(PHOTOS), method))
    with pytest.raises(DataError, match=rf"^the archive has .* packed by method {number}, but stored or deflated"):
        unpack(tmp_path / "a.zip", tmp_path / "photos")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_any_damage_to_an_archive_is_one_sentence(method: int, expected: None, tmp_path: Path) -> None:
    rng, content = np.random.default_rng(0), pack(dict(PHOTOS), method)
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(256)
        (tmp_path / "a.zip").write_bytes(damaged)
        # what cannot be seen is an archive of the same photos
        with suppress(DataError):
            unpack(tmp_path / "a.zip", tmp_path / "photos")


def test_a_member_that_lies_about_its_size_unpacks_no_more(expected: None, tmp_path: Path) -> None:
    """The size in the directory is made small: the checksum is of more than is read."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/pizza/1.jpg", bytes(5 << 20))
    content = target.getvalue().replace((5 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be unpacked: Bad CRC-32"):
        unpack(tmp_path / "a.zip", tmp_path / "photos")


def test_photos_are_downloaded_into_place(zip_server: ArchiveServer, tmp_path: Path) -> None:
    zip_server.breaks = [100]
    folder = tmp_path / "data" / "pizza_steak_sushi"
    food_download.download_food(folder)
    assert names(tmp_path / "data") == sorted(f"pizza_steak_sushi/{name}" for name, _ in PHOTOS)
    assert zip_server.asked == [("/photos.zip", None), ("/photos.zip", "bytes=100-")]


def test_other_photos_are_not_put_into_place(zip_server: ArchiveServer, tmp_path: Path) -> None:
    zip_server.files["/photos.zip"] = pack({**dict(PHOTOS), "test/sushi/2.jpg": b"another"})
    with pytest.raises(DataError, match=r"^the archive holds 12 photos with sha256 .*photos\.zip by hand$"):
        load_dataset(RECIPES["food-tinyvgg"], tmp_path)
    assert names(tmp_path) == []


def test_photos_without_a_network_say_how_to_get_them(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(food_download, "SOURCE", f"{closed}photos.zip")
    with pytest.raises(
        MissingDataError,
        match=r"pizza_steak_sushi does not exist, and the photos cannot be downloaded \(.*refused\); unpack http.*zip "
        r"into .*pizza_steak_sushi, or give --data-root where pizza_steak_sushi is$",
    ):
        read_food(tmp_path)
    assert names(tmp_path) == []


def test_photos_of_ones_own_are_left_alone(zip_server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "pizza_steak_sushi" / "train").mkdir(parents=True)
    with pytest.raises(MissingDataError, match=r"pizza does not exist, but the photos of one class were expected"):
        read_food(tmp_path)
    assert zip_server.asked == []


def test_the_real_photos_have_the_digest_that_a_download_must_have(data_root: Path) -> None:
    if not (data_root / "pizza_steak_sushi").is_dir():
        pytest.skip("DATA_ROOT has no pizza_steak_sushi, so there are no real photos to test with")
    assert read_food(data_root).sha256 == SHA256
