"""Killed at any instant, an export leaves a whole bundle; any flipped bit is noticed; twice gives the same bytes."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import train.write
from export.workplace import EXPORT, workplace
from export.write import write_bundle
from serve.bundle import BundleError, CertificateHead, encode_sealed, read_bundle
from tests.conftest import ROOT, run_command
from tests.export.drafts import draft_of_line
from train.exchange import exchange

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges directories")
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


def write(target: Path, seed: int) -> None:
    """Write a bundle without graphs: what is tested here is the same with them, and they take a second."""
    write_bundle(target, draft_of_line(seed), formats=())


# ---- killed at any instant

# A process that knows torch forks others, which write two bundles in turn and are killed; whatever stands then is read.
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
import train.write
from serve.bundle import BundleError, read_bundle
from tests.export.drafts import draft_of_line
from export.write import write_bundle

torch.set_num_threads(1)
target, way, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if way == "renames":
    train.write.exchange = lambda one, other: False
old, new = draft_of_line(0), draft_of_line(1)
known = {write_bundle(target, draft, formats=()).sha256 for draft in (new, old)}
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "shutil.rmtree", "ctypes.dlsym"}

def at_random():
    pid = os.fork()
    if pid == 0:
        while True:
            write_bundle(target, new, formats=())
            write_bundle(target, old, formats=())
    time.sleep(chance.uniform(0, 0.05))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True

def before_operation(number):
    pid = os.fork()
    if pid == 0:
        left = number
        def hook(event, args):
            nonlocal left
            if event in EVENTS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        write_bundle(target, new if number % 2 else old, formats=())
        os._exit(0)
    return os.waitpid(pid, 0)[1] != 0

def look():
    try:
        return "whole" if read_bundle(target).manifest.sha256 in known else "another"
    except BundleError:
        return "empty" if not target.exists() else "broken"

chance = random.Random(0)
seen, kills = [], 0
while at_random() if how == "random" else before_operation(kills):
    seen.append(look())
    kills += 1
    if how == "random" and kills == 100:
        break
write_bundle(target, new, formats=())
names = [path.name for path in target.parent.iterdir()]
print(kills, "|".join(sorted(set(seen))), look(), names, sep=";")
"""


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("how", ["random", "before-each-operation"])
@pytest.mark.parametrize(
    ("way", "allowed"),
    [
        pytest.param("exchange", {"whole"}, id="exchange", marks=LINUX),
        pytest.param("renames", {"whole", "empty"}, id="renames"),
    ],
)
def test_killed_at_any_instant_the_old_bundle_stands_or_the_new_one(
    way: str, how: str, allowed: set[str], tmp_path: Path
) -> None:
    script = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path / "bundle"), way, how],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert script.returncode == 0, script.stderr
    kills, seen, last, names = script.stdout.strip().split(";")
    assert int(kills) >= (100 if how == "random" else 20), script.stdout
    assert set(seen.split("|")) <= allowed
    assert "whole" in seen
    assert how == "random" or seen == "|".join(sorted(allowed))  # without the exchange there is an instant in between
    assert (last, names) == ("whole", "['bundle']")


# ---- what a kill left


def place(folder: Path, seed: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    write(folder, seed)


@POSIX
@pytest.mark.parametrize(
    ("places", "seed"),
    [
        pytest.param(("old",), 3, id="before the new one was whole"),
        pytest.param(("new", "old"), 4, id="before the old one went"),
    ],
)
def test_a_bundle_that_a_kill_left_aside_is_put_back(places: tuple[str, ...], seed: int, tmp_path: Path) -> None:
    target, leftover = tmp_path / "bundle", tmp_path / ".bundle.export-a_b1c2d3"
    for name in places:
        place(leftover / name, 4 if name == "new" else 3)
    (leftover / "new").mkdir(exist_ok=True)
    (leftover / EXPORT.marker).write_text("ours")
    broken = draft_of_line(5)
    object.__setattr__(broken, "golden_inputs", {})
    with pytest.raises(KeyError):
        write_bundle(target, broken, formats=())
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert read_bundle(target).manifest.provenance.seed == seed


@POSIX
def test_only_what_exports_left_is_cleared_away(tmp_path: Path) -> None:
    write(tmp_path / "bundle", 0)
    (tmp_path / ".bundle.export-00000000" / "new").mkdir(parents=True)
    (tmp_path / ".bundle.export-00000000" / EXPORT.marker).write_text("ours")
    kept = [".bundle.backup", ".bundle.export-mine", ".bundle.export-33333333", ".other.export-00000000"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".bundle.export-33333333" / "new").mkdir()  # bears such a name, but no marker
    (tmp_path / ".bundle.export-11111111").write_text("mine")
    (tmp_path / ".bundle.export-22222222").symlink_to(tmp_path / ".bundle.backup")
    write(tmp_path / "bundle", 1)
    expected = {"bundle", *kept, ".bundle.export-11111111", ".bundle.export-22222222"}
    assert {path.name for path in tmp_path.iterdir()} == expected


@POSIX
def test_the_folder_of_an_export_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    with workplace(tmp_path / "bundle") as folder:
        write(tmp_path / "bundle", 0)
        assert folder.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {"bundle", folder.name}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "bundle", 0)
    monkeypatch.setattr(train.write, "exchange", lambda *_: False)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError("no space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no space left on device"):
        write(tmp_path / "bundle", 1)
    assert read_bundle(tmp_path / "bundle").manifest.provenance.seed == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@LINUX
def test_two_directories_change_places(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    if not exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("the file system under the temporary folder cannot exchange directories")
    assert (tmp_path / "one" / "other").exists()
    assert (tmp_path / "other" / "one").exists()
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        exchange(tmp_path / "one", tmp_path / "nothing")


def test_elsewhere_nothing_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "one").exists()


# ---- one byte, anywhere


def test_one_flipped_bit_in_any_file_is_noticed(tmp_path: Path) -> None:
    """Every file of a bundle with graphs and a certificate: each byte of the small ones, a sample of the others."""
    manifest = write_bundle(tmp_path / "bundle", draft_of_line(0), formats=("torchscript",))
    head = CertificateHead(sha256="0" * 64, bundle_sha256=manifest.sha256, passed=True)
    (tmp_path / "bundle" / "certificate.json").write_bytes(encode_sealed(head))
    files = sorted((tmp_path / "bundle").iterdir())
    assert {path.name for path in files} == {"manifest.json", "certificate.json", *(f.path for f in manifest.files)}
    read_bundle(tmp_path / "bundle")
    chance = random.Random(0)
    for path in files:
        content = path.read_bytes()
        places = (
            range(len(content))
            if len(content) < 400
            else {0, len(content) - 1, *chance.choices(range(len(content)), k=200)}
        )
        for at in places:
            flipped = bytearray(content)
            flipped[at] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            with pytest.raises(BundleError, match=path.name.replace(".", r"\.")):
                read_bundle(tmp_path / "bundle")
        path.write_bytes(content[:-1])
        with pytest.raises(BundleError, match=path.name.replace(".", r"\.")):
            read_bundle(tmp_path / "bundle")
        path.write_bytes(content)
    read_bundle(tmp_path / "bundle")


# ---- the same again is the same bytes


def test_the_same_draft_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):  # TorchScript numbers its classes anew within a process; see the next test
        write_bundle(tmp_path / name, draft_of_line(0), formats=("onnx",))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["digits", "circles-v2"])
def test_the_same_run_exported_twice_gives_the_same_bytes(recipe: str, tmp_path: Path) -> None:
    run_command("train", "run", recipe, "--epochs", "1", cwd=tmp_path)
    for name in ("one", "two"):  # processes of their own, with hashes of their own
        run_command("export", f"runs/{recipe}", "--out", name, cwd=tmp_path)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert {"graph.onnx", "graph.torchscript.pt", "manifest.json", "state_dict.pt"} <= set(names)
    for name in names:  # no file holds a time
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
