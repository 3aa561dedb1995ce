"""A stranger's exported program is refused before torch loads it, as it could run anything."""

import io
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from altered import copy_bundle
from own_bundles import NETWORKS

from evaluate.resealed import replace_file

Evaluate = Callable[..., tuple[int, str, str]]
FACTORY = ("--factory", f"{NETWORKS}:TwoInputs")
COMMANDS = [("parity", "--quick", "--no-certificate"), ("accuracy",), ("blame",), ("bench", "--quick", "--rounds", "1")]
KEEPS = {".data/version", "byteorder", ".data/serialization_id"}  # written by torch itself


class Planted:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def hostile(content: bytes, file: Path) -> bytes:
    """Return an exported program that makes a file as it is loaded."""
    planted, stream = io.BytesIO(), io.BytesIO()
    torch.save(((Planted(file),), {}), planted)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        writer = torch._C.PyTorchFileWriter(stream)
        for name in archive.namelist():
            short = name.partition("/")[2]
            record = planted.getvalue() if short == "data/sample_inputs/model.pt" else archive.read(name)
            if short not in KEEPS:
                writer.write_record(short, record, len(record))
        writer.write_end_of_file()
    return stream.getvalue()


@pytest.fixture
def trap(own_bundles: dict[str, Path], tmp_path: Path) -> Path:
    """Path of a bundle whose exported program makes the file ``touched`` beside it."""
    bundle = copy_bundle(own_bundles["TwoInputs"], tmp_path / "bundle")
    replace_file(bundle, "graph.pt2", hostile((bundle / "graph.pt2").read_bytes(), tmp_path / "touched"))
    return bundle


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_exported_program_is_not_loaded_unless_its_author_is_trusted(
    command: tuple[str, ...], trap: Path, evaluate: Evaluate
) -> None:
    code, _, err = evaluate(command[0], str(trap), *command[1:], *FACTORY)
    assert code == 2
    assert re.fullmatch(
        r"error: .*graph\.pt2 is an exported program, but torch runs any code .* as it loads it; give --trust if the "
        r"bundle is your own, or --require-signature KEY if somebody you trust signed it\n",
        err,
    )
    assert not (trap.parent / "touched").exists()


def test_such_a_program_would_run(trap: Path, evaluate: Evaluate) -> None:
    evaluate("parity", str(trap), "--quick", "--no-certificate", "--trust", *FACTORY)
    assert (trap.parent / "touched").exists()


def test_a_bundle_without_one_needs_no_trust(own_bundles: dict[str, Path], reduced_bundles: dict[str, Path]) -> None:
    from evaluate.trust import read_trusted
    from serve.bundle import BundleError

    read_trusted(reduced_bundles["TwoInputs"], trust=False, public_key=None)
    read_trusted(own_bundles["TwoInputs"], trust=True, public_key=None)
    with pytest.raises(BundleError, match="is an exported program"):
        read_trusted(own_bundles["TwoInputs"], trust=False, public_key=None)


def test_of_whom_one_trusts_it_is_judged_only_if_he_signed_it(
    own_bundles: dict[str, Path], trap: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec", reason="the extra sign is not installed")
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    from export.sign import sign_bundle

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    bundle = copy_bundle(own_bundles["TwoInputs"], tmp_path / "signed")
    sign_bundle(bundle, private)
    parity = ("--quick", "--no-certificate", *FACTORY, "--require-signature")
    assert evaluate("parity", str(bundle), *parity, str(public))[0] == 0
    code, _, err = evaluate("parity", str(bundle), *parity, str(tmp_path / "nothing.pem"))
    assert (code, "nothing.pem cannot be read" in err) == (2, True)
    code, _, err = evaluate("parity", str(trap), *parity, str(public), "--trust")
    assert (code, "bundle has no model.sig, but a signature is required" in err) == (2, True)
    shutil.copy(bundle / "model.sig", trap)
    code, _, err = evaluate("parity", str(trap), *parity, str(public), "--trust")
    assert (code, "was signed; sign it again" in err) == (2, True)
    assert not (tmp_path / "touched").exists()
