"""The bundle contract: what is read, and that everything altered, missing or malformed is noticed."""

import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serve.bundle import (
    Bundle,
    BundleError,
    CertificateHead,
    FileEntry,
    ImagePreprocessing,
    Manifest,
    TensorSpec,
    check_certificate,
    check_seal,
    decode_sealed,
    encode_sealed,
    read_bundle,
    seal,
)

NOWHERE = Path("manifest.json")


@pytest.fixture
def copy(tiny_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_path, tmp_path / "copy"))


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and seal it again, as a careless exporter would."""
    document = json.loads((bundle / "manifest.json").read_bytes())
    document["sha256"] = "0" * 64
    change(document)
    (bundle / "manifest.json").write_bytes(seal(json.dumps(document, indent=2).encode()))


def test_reads_what_was_written(tiny_path: Path) -> None:
    bundle = read_bundle(tiny_path)
    assert bundle.manifest.name == "tiny"
    assert bundle.manifest.labels == ("circle", "cross", "line", "dot")
    assert bundle.manifest.inputs == (TensorSpec(name="image", dtype="uint8", shape=("batch", 8, 8, 1)),)
    graph = bundle.entry("onnx", "float32")
    assert graph is not None
    assert graph == bundle.entry("onnx")
    assert bundle.entry("onnx", "int8") is None
    assert bundle.entry("torchscript") is None
    assert bundle.read(graph) == (tiny_path / "graph.onnx").read_bytes()


def test_one_changed_byte_anywhere_in_the_manifest_is_noticed(copy: Path) -> None:
    document = (copy / "manifest.json").read_bytes()
    for position in range(len(document)):
        altered = bytearray(document)
        altered[position] ^= 1
        with pytest.raises(
            BundleError, match=r"manifest\.json (has sha256 .* make it again|holds no sha256 of itself)"
        ):
            check_seal(bytes(altered), NOWHERE)
    (copy / "manifest.json").write_bytes(document[:-2] + b" \n")
    with pytest.raises(
        BundleError, match=r"manifest\.json has sha256 .{12}…, but records .{12}… of itself; make it again"
    ):
        read_bundle(copy)


@pytest.mark.parametrize("name", ["graph.onnx", "golden.npz", "model-card.md"])
def test_one_changed_byte_in_any_file_is_noticed(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    positions = {0, len(content) - 1, *random.Random(0).choices(range(len(content)), k=40)}
    for position in positions:
        altered = bytearray(content)
        altered[position] ^= 1
        (copy / name).write_bytes(altered)
        with pytest.raises(
            BundleError, match=rf"{name} has sha256 .{{12}}…, but manifest\.json records .*; export the bundle"
        ):
            read_bundle(copy)
    for altered in (content[:-1], content + b"\0", b""):
        (copy / name).write_bytes(altered)
        with pytest.raises(
            BundleError,
            match=rf"{name} has {len(altered):,} bytes, but manifest\.json records {len(content):,}; export the bundle",
        ):
            read_bundle(copy)
    (copy / name).write_bytes(content)
    read_bundle(copy)


def test_a_file_is_checked_on_the_very_read_that_is_used(copy: Path) -> None:
    bundle = read_bundle(copy)
    graph = bundle.entry("onnx")
    assert graph is not None
    content = bytearray((copy / "graph.onnx").read_bytes())
    content[-1] ^= 1
    (copy / "graph.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"graph\.onnx has sha256"):
        bundle.read(graph)


def test_a_missing_file_is_noticed(copy: Path) -> None:
    (copy / "graph.onnx").unlink()
    with pytest.raises(BundleError, match=r"graph\.onnx is missing, but manifest\.json lists it; .* copy it whole"):
        read_bundle(copy)


def test_a_directory_in_a_files_place_is_noticed(copy: Path) -> None:
    (copy / "graph.onnx").unlink()
    (copy / "graph.onnx").mkdir()
    with pytest.raises(BundleError, match=r"graph\.onnx is no regular file, but one was expected; copy the bundle"):
        read_bundle(copy)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are made otherwise there")
@pytest.mark.parametrize("name", ["model-card.md", "certificate.json"])
def test_a_pipe_in_a_files_place_is_not_waited_for(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    with pytest.raises(BundleError, match=rf"{name} is no regular file, but one was expected"):
        read_bundle(copy)


@pytest.mark.parametrize("name", ["manifest.json", "model-card.md", "certificate.json"])
def test_a_link_in_a_files_place_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    if (copy / name).exists():
        (copy / name).rename(target)
    (copy / name).symlink_to(target)
    with pytest.raises(BundleError, match=rf"{name} is no regular file, but one was expected"):
        read_bundle(copy)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are made otherwise there")
@pytest.mark.parametrize("name", ["manifest.json", "model-card.md"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_takes_a_files_place_after_the_look_is_refused(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    look = Path.lstat

    def look_and_swap(path: Path) -> os.stat_result:
        found = look(path)
        if path == copy / name:
            path.rename(tmp_path / "elsewhere")
            os.mkfifo(path) if kind == "pipe" else path.symlink_to(tmp_path / "elsewhere")
        return found

    monkeypatch.setattr(Path, "lstat", look_and_swap)
    message = "is no regular file" if kind == "pipe" else r"cannot be read \(Too many levels of symbolic links\)"
    with pytest.raises(BundleError, match=f"{name} {message}"):
        read_bundle(copy)


@pytest.mark.parametrize("size_bytes", [-1, 2**36 + 1])
def test_a_size_that_no_file_has_is_refused_before_it_is_read(copy: Path, size_bytes: int) -> None:
    edit_manifest(copy, lambda m: m["files"][0].update(size_bytes=size_bytes))
    message = f"has size_bytes {size_bytes:,}, but 0 to 68,719,476,736 were expected"
    with pytest.raises(BundleError, match=message):
        read_bundle(copy)
    edit_manifest(copy, lambda m: m["files"][0].update(size_bytes=2**36))
    with pytest.raises(BundleError, match=r"bytes, but manifest\.json records 68,719,476,736; export"):
        read_bundle(copy)


def in_a_folder(bundle: Path) -> Path:
    """Move the model card to docs/en, and say so in the manifest."""
    (bundle / "docs" / "en").mkdir(parents=True)
    (bundle / "model-card.md").rename(bundle / "docs" / "en" / "card.md")
    edit_manifest(
        bundle, lambda m: next(f for f in m["files"] if f["path"] == "model-card.md").update(path="docs/en/card.md")
    )
    return bundle


def test_a_file_in_a_folder_is_read_and_checked(copy: Path) -> None:
    bundle = read_bundle(in_a_folder(copy))
    entry = bundle.entry("model-card")
    assert entry is not None
    assert entry.path == "docs/en/card.md"
    assert bundle.read(entry) == b"# tiny\n"
    (copy / "docs" / "en" / "card.md").write_bytes(b"# tinx\n")
    with pytest.raises(BundleError, match=r"docs/en/card\.md has sha256"):
        read_bundle(copy)


@pytest.mark.parametrize("folder", ["docs", "docs/en"])
def test_a_link_in_a_folders_place_is_refused(copy: Path, tmp_path: Path, folder: str) -> None:
    (in_a_folder(copy) / folder).rename(tmp_path / "elsewhere")
    (copy / folder).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=rf"{folder} is no folder, but one was expected; copy the bundle with its"):
        read_bundle(copy)


def test_a_missing_folder_is_a_missing_file(copy: Path) -> None:
    shutil.rmtree(in_a_folder(copy) / "docs")
    with pytest.raises(BundleError, match=r"docs/en/card\.md is missing, but manifest\.json lists it"):
        read_bundle(copy)


def test_the_weights_of_a_graph_are_those_that_carry_its_name(copy: Path) -> None:
    for name in ("graph.onnx.data", "other.onnx.data"):
        (copy / name).write_bytes(name.encode())
    listed = [
        {"path": name, "format": "onnx-data", "precision": None, "size_bytes": len(name), "sha256": digest}
        for name in ("graph.onnx.data", "other.onnx.data")
        for digest in (hashlib.sha256(name.encode()).hexdigest(),)
    ]
    edit_manifest(copy, lambda m: m["files"].extend(listed))
    bundle = read_bundle(copy)
    graph = bundle.entry("onnx")
    assert graph is not None
    assert bundle.read_weights(graph) == {"graph.onnx.data": b"graph.onnx.data"}
    (copy / "graph.onnx.data").write_bytes(b"graph.onnx.dat?")
    with pytest.raises(BundleError, match=r"graph\.onnx\.data has sha256"):
        bundle.read_weights(graph)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
@pytest.mark.parametrize("name", ["manifest.json", "model-card.md"])
def test_a_closed_file_is_one_sentence(copy: Path, name: str) -> None:
    (copy / name).chmod(0)
    with pytest.raises(BundleError, match=rf"{name} cannot be read \(Permission denied\); "):
        read_bundle(copy)


@pytest.mark.parametrize(("name", "mebibytes"), [("manifest.json", 16), ("certificate.json", 64)])
def test_documents_have_a_largest_size(copy: Path, name: str, mebibytes: int) -> None:
    for size, message in (
        (mebibytes << 20, "holds no sha256 of itself"),
        (
            (mebibytes << 20) + 1,
            f"{name} has {(mebibytes << 20) + 1:,} bytes, but at most {mebibytes << 20:,} are read; make",
        ),
    ):
        with (copy / name).open("wb") as file:
            file.truncate(size)
        with pytest.raises(BundleError, match=message):
            read_bundle(copy)


def test_a_second_digest_of_itself_is_a_forgery(copy: Path) -> None:
    document = (
        (copy / "manifest.json")
        .read_bytes()
        .replace(b'"name": "tiny"', b'"sha256": "' + b"f" * 64 + b'",\n  "name": "tiny"')
    )
    genuine = read_bundle(copy).manifest.sha256.encode()
    forged = seal(document.replace(genuine, b"0" * 64))
    check_seal(forged, NOWHERE)
    (copy / "manifest.json").write_bytes(forged)
    with pytest.raises(
        BundleError,
        match=r"manifest\.json is sealed with sha256 .{12}…, but calls itself f{12}…, so it was altered; make",
    ):
        read_bundle(copy)


def test_no_bundle_at_the_path(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"nothing does not exist, but a bundle directory was expected; make one with"
    ):
        read_bundle(tmp_path / "nothing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match=r"file is a file, but a bundle is a directory with a manifest\.json"):
        read_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match=r"has no manifest\.json, so it is no bundle or its export did not finish"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda m: m.update(schema_version=2), "schema_version 2, but this version reads 1", id="schema"),
        pytest.param(lambda m: m.update(name="../x"), "model name is '../x', but only letters", id="name"),
        pytest.param(lambda m: m.update(name=""), "model name is '', but only letters", id="empty-name"),
        pytest.param(lambda m: m.update(inputs=[]), "lists no inputs or no outputs", id="no-inputs"),
        pytest.param(lambda m: m.update(outputs=[]), "lists no inputs or no outputs", id="no-outputs"),
        pytest.param(lambda m: m.update(labels=["a"]), "has 1 labels, but probabilities have 4 classes", id="labels"),
        pytest.param(lambda m: m["labels"].__setitem__(1, "a\0b"), r"a label is 'a\\x00b', but a name", id="nul"),
        pytest.param(
            lambda m: m["labels"].__setitem__(1, "\u202eb"), r"a label is '\\u202eb', but a name", id="turned"
        ),
        pytest.param(lambda m: m["inputs"][0].update(name="\x1b[m"), r"or dimension is '\\x1b\[m'", id="escape"),
        pytest.param(lambda m: m["outputs"][0].update(shape=["batch", "\x07"]), r"is '\\x07', but a name", id="bell"),
        pytest.param(
            lambda m: m.update(features=[{"name": "a", "categories": ["\u2066b"]}]),
            r"a feature or category is '\\u2066b'",
            id="category",
        ),
        pytest.param(lambda m: m.update(task="guess"), "Invalid enum value 'guess'", id="task"),
        pytest.param(lambda m: m.pop("files"), "missing required field `files`", id="field"),
        pytest.param(lambda m: m["inputs"][0].update(dtype="int3"), "Invalid enum value 'int3'", id="dtype"),
        pytest.param(lambda m: m["inputs"][0].update(shape=[1, 8]), 'the first dimension must be "batch"', id="batch"),
        pytest.param(lambda m: m["preprocessing"].update(height=0), "image size is 0x8, but both sides", id="height"),
        pytest.param(lambda m: m["preprocessing"].update(background=256), "background is 256, but must lie", id="grey"),
        pytest.param(lambda m: m["preprocessing"].update(background=-1), "background is -1, but must lie", id="black"),
        pytest.param(lambda m: m["files"][0].update(path="../graph.onnx"), "is not made of plain names", id="parent"),
    ],
)
def test_a_malformed_manifest_is_one_sentence(
    copy: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_manifest(copy, change)
    with pytest.raises(BundleError, match=message):
        read_bundle(copy)


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "../x", "/", "a/", "a//b", "./a", "a/.", "a/../b", "a/b/..", "/etc/passwd"),
        *("a\\b", "a/b\\c", "C:x", "a\0b", "é", "a\n", "manifest.json", "certificate.json"),
    ],
)
def test_files_cannot_lie_outside_the_bundle(path: str) -> None:
    with pytest.raises(ValueError, match="is not made of plain names inside the bundle"):
        FileEntry(path=path, format="onnx", precision=None, size_bytes=0, sha256="0" * 64)


@pytest.mark.parametrize("path", ["graph.onnx", "graph.fp16.onnx", "..a", "model-card.md", "triton/a/1/model.onnx"])
def test_plain_names_are_files(path: str) -> None:
    assert FileEntry(path=path, format="onnx", precision=None, size_bytes=0, sha256="0" * 64).path == path


@pytest.mark.parametrize("background", [0, 255])
def test_bounds_of_preprocessing_are_allowed(background: int) -> None:
    assert ImagePreprocessing(color="RGB", height=1, width=1, background=background).shape == (1, 1, 3)
    assert ImagePreprocessing(color="L", height=2, width=1, background=background).shape == (2, 1, 1)


@pytest.mark.parametrize(
    ("fit", "resize", "message"),
    [
        ("crop", None, "fit is crop and resize None"),
        ("stretch", 64, "fit is stretch and resize 64"),
        ("crop", 31, "images are resized to 31, but 32x8 are to be cut out of them"),
    ],
)
def test_a_size_to_resize_to_belongs_to_crop(fit: Any, resize: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ImagePreprocessing(color="L", height=32, width=8, fit=fit, resize=resize)


def test_a_tensor_has_a_batch() -> None:
    with pytest.raises(ValueError, match=r"tensor x has shape \[\], but the first dimension"):
        TensorSpec(name="x", dtype="float32", shape=())


def test_sealing() -> None:
    unsealed = b'{"a": 1, "sha256": "' + b"0" * 64 + b'"}'
    sealed = seal(unsealed)
    assert hashlib.sha256(unsealed).hexdigest().encode() in sealed
    check_seal(sealed, NOWHERE)
    with pytest.raises(ValueError, match='the document has no "sha256" field of 64 zeros to seal'):
        seal(sealed)
    with pytest.raises(BundleError, match="holds no sha256 of itself, so it was altered or cut short"):
        check_seal(b"{}", NOWHERE)
    with pytest.raises(BundleError, match=r"manifest\.json is not valid: .*missing required field"):
        decode_sealed(sealed, Manifest, NOWHERE)
    deep = seal(b'{"sha256": "' + b"0" * 64 + b'", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    with pytest.raises(BundleError, match=r"manifest\.json is not valid: .*recursion"):
        decode_sealed(deep, Manifest, NOWHERE)


class TestCertificate:
    def write(self, bundle: Bundle, *, passed: bool = True, of: str | None = None) -> bytes:
        head = CertificateHead(sha256="0" * 64, bundle_sha256=of or bundle.manifest.sha256, passed=passed)
        content = encode_sealed(head)
        (bundle.path / "certificate.json").write_bytes(content)
        return content

    @pytest.mark.parametrize("passed", [True, False])
    def test_is_read(self, copy: Path, passed: bool) -> None:
        bundle = read_bundle(copy)
        content = self.write(bundle, passed=passed)
        assert check_certificate(content, copy / "certificate.json", bundle.manifest).passed is passed
        read_bundle(copy)

    def test_of_another_bundle_is_refused(self, copy: Path) -> None:
        self.write(read_bundle(copy), of="1" * 64)
        with pytest.raises(
            BundleError, match=r"certifies bundle 1{12}…, but this is .{12}…; run `python -m evaluate parity`"
        ):
            read_bundle(copy)

    def test_altered_is_refused(self, copy: Path) -> None:
        content = self.write(read_bundle(copy), passed=False)
        (copy / "certificate.json").write_bytes(content.replace(b'"passed": false', b'"passed": true'))
        with pytest.raises(BundleError, match=r"certificate\.json has sha256 .*of itself; make it again"):
            read_bundle(copy)

    def test_more_than_the_head_is_evaluates_own(self) -> None:
        document = seal(
            msgspec.json.format(b'{"sha256":"' + b"0" * 64 + b'","bundle_sha256":"b","passed":true,"graphs":[]}')
        )
        assert decode_sealed(document, CertificateHead, Path("certificate.json")).passed


def test_a_graph_for_triton_is_a_copy(tiny_path: Path) -> None:
    manifest = read_bundle(tiny_path).manifest
    copy = replace(manifest.files[0], path="triton/tiny/1/model.onnx", format="triton")
    assert replace(manifest, files=(*manifest.files, copy)).files[-1] == copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda m: replace(m, preprocessing=replace(m.preprocessing, height=30_000)),
            "prepares images of shape [30000, 8, 1], but input image takes [8, 8, 1]",
            id="another size",
        ),
        pytest.param(lambda m: replace(m, files=(*m.files, m.files[0])), "lists a file twice", id="a file twice"),
        pytest.param(
            lambda m: replace(
                m, files=(*m.files, replace(m.files[0], path="triton/a/1/model.onnx", format="triton", sha256="0" * 64))
            ),
            "triton/a/1/model.onnx is no copy of an ONNX graph that manifest.json lists",
            id="a graph for Triton that is another",
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    change: Callable[[Manifest], Manifest], message: str, tiny_path: Path
) -> None:
    manifest = read_bundle(tiny_path).manifest
    with pytest.raises(ValueError, match=re.escape(message)):
        change(manifest)
