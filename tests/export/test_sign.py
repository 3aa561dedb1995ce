"""A signed bundle is what its signer had: unsigned, another key and every change are one sentence."""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from export.sign import main, sign_bundle
from serve.batch import main as predict
from serve.bundle import BundleError, CertificateHead, encode_sealed, read_bundle
from serve.signing import SIGNATURE, SigningError, digests, read_public_key, require_signature, signed_digests
from tests.conftest import ROOT, run_command
from tests.serve.tiny_bundle import write_house_bundle, write_tiny_bundle
from tests.serving import serving

ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec", reason="the extra sign is not installed")


def write_keys(folder: Path, name: str, key: object = None) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = key or ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "mine")


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    head = CertificateHead(sha256="0" * 64, bundle_sha256=read_bundle(bundle).manifest.sha256, passed=True)
    (bundle / "certificate.json").write_bytes(encode_sealed(head))
    sign_bundle(bundle, keys[0])
    return bundle


def test_what_was_signed_is_taken(signed: Path, keys: tuple[Path, Path]) -> None:
    require_signature(read_bundle(signed), keys[1])
    sign_bundle(signed, keys[0])  # again: the earlier signature is not among what is signed
    require_signature(read_bundle(signed), keys[1])
    assert SIGNATURE not in digests(signed)
    assert {"manifest.json", "certificate.json", "graph.onnx"} <= digests(signed).keys()


def test_what_nobody_made_is_not_signed(signed: Path, keys: tuple[Path, Path]) -> None:
    left = [signed / ".certificate.json-x1y2z3_4", signed / ".DS_Store"]
    for path in left:
        path.write_bytes(b"left")
    (signed / ".mine").write_bytes(b"mine")
    sign_bundle(signed, keys[0])
    assert not any(path.exists() for path in left)
    assert ".mine" in digests(signed)
    require_signature(read_bundle(signed), keys[1])


@pytest.mark.parametrize("curve", ["SECP384R1", "SECP521R1"])
def test_other_curves_of_the_format(curve: str, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    private, public = write_keys(tmp_path, "large", ec.generate_private_key(getattr(ec, curve)()))
    sign_bundle(bundle, private)
    require_signature(read_bundle(bundle), public)


def test_the_signature_is_in_the_format(signed: Path) -> None:
    document = json.loads((signed / SIGNATURE).read_bytes())
    assert document["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    names = [resource["name"] for resource in statement["predicate"]["resources"]]
    assert names == sorted(names) == list(digests(signed))


def test_a_signature_that_model_signing_made_is_read() -> None:
    """Made by model-signing 1.1.1 of two files, ``one`` and ``two`` with a line's end."""
    folder = Path(__file__).parent / "signed"
    assert signed_digests(folder / "model.sig", folder / "public.pem") == {
        name: hashlib.sha256(text).hexdigest() for name, text in (("in/two.txt", b"two\n"), ("one.txt", b"one\n"))
    }


def test_an_unsigned_bundle_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    bundle = read_bundle(write_tiny_bundle(tmp_path / "bundle"))
    with pytest.raises(BundleError, match=r"bundle has no model\.sig, but a signature is required; sign it with"):
        require_signature(bundle, keys[1])


def test_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(
        BundleError, match=r"was made with key .{12}…, but .*other\.pub is .{12}…; give the key of whom"
    ):
        require_signature(read_bundle(signed), other)


def edit(signed: Path, change: Callable[[dict], object]) -> None:
    document = json.loads((signed / SIGNATURE).read_bytes())
    change(document)
    (signed / SIGNATURE).write_text(json.dumps(document))


def test_a_signature_that_claims_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    from serve.signing import key_hint

    _, other = write_keys(tmp_path, "other")
    hint = key_hint(read_public_key(other))
    edit(signed, lambda d: d["verificationMaterial"]["publicKey"].update(hint=hint))
    with pytest.raises(BundleError, match=r"does not fit .*other\.pub: it was altered, or made with another key"):
        require_signature(read_bundle(signed), other)


def forge(document: dict) -> None:
    payload = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b'"tiny"', b'"fake"')
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(forge, "does not fit", id="another statement"),
        pytest.param(lambda d: d.update(mediaType="text/plain"), "is no signature in the OpenSSF format", id="media"),
        pytest.param(lambda d: d.pop("dsseEnvelope"), "is no signature in the OpenSSF format", id="no envelope"),
        pytest.param(lambda d: d["dsseEnvelope"].update(signatures=[]), "is no signature in", id="no signature"),
        pytest.param(lambda d: d["dsseEnvelope"].update(payload="%"), "is no signature in", id="not base64"),
    ],
)
def test_an_altered_signature_is_refused(
    change: Callable[[dict], object], message: str, signed: Path, keys: tuple[Path, Path]
) -> None:
    edit(signed, change)
    with pytest.raises(BundleError, match=message):
        require_signature(read_bundle(signed), keys[1])


@pytest.mark.parametrize("content", [b"", b"[]", b"{" * 9, b"\xff"])
def test_what_is_no_signature_is_one_sentence(content: bytes, signed: Path, keys: tuple[Path, Path]) -> None:
    (signed / SIGNATURE).write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.sig is no signature in the OpenSSF format"):
        require_signature(read_bundle(signed), keys[1])


def test_a_bundle_put_in_its_place_is_refused(signed: Path, keys: tuple[Path, Path]) -> None:
    """Whole and sealed, but of somebody else."""
    (signed / "certificate.json").unlink()
    write_tiny_bundle(signed, seed=9)
    with pytest.raises(BundleError, match=r"certificate\.json was signed, but is missing"):
        require_signature(read_bundle(signed), keys[1])
    (signed / "certificate.json").write_text("{}")
    with pytest.raises(BundleError, match=r"certificate\.json has sha256 .{12}…, but .{12}… was signed; sign it again"):
        require_signature(bundle_without_certificate(signed), keys[1])


def bundle_without_certificate(path: Path):
    content = (path / "certificate.json").read_bytes()
    (path / "certificate.json").unlink()
    bundle = read_bundle(path)
    (path / "certificate.json").write_bytes(content)
    return bundle


def test_a_bundle_of_somebody_else_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    sign_bundle(bundle, keys[0])
    write_tiny_bundle(bundle, seed=9)
    with pytest.raises(BundleError, match=r"golden\.npz has sha256 .{12}…, but .{12}… was signed"):
        require_signature(read_bundle(bundle), keys[1])


def test_a_certificate_made_after_signing_is_named(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = write_tiny_bundle(tmp_path / "bundle")
    sign_bundle(path, keys[0])
    head = CertificateHead(sha256="0" * 64, bundle_sha256=read_bundle(path).manifest.sha256, passed=True)
    (path / "certificate.json").write_bytes(encode_sealed(head))
    with pytest.raises(BundleError, match=r"certificate\.json is not among the files that were signed; sign it again"):
        require_signature(read_bundle(path), keys[1])


def test_a_bundle_read_before_another_was_put_in_its_place_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = write_tiny_bundle(tmp_path / "bundle")
    earlier = read_bundle(path)
    write_tiny_bundle(path, seed=9)
    sign_bundle(path, keys[0])
    with pytest.raises(BundleError, match=r"manifest\.json was exchanged while the bundle was read; start again"):
        require_signature(earlier, keys[1])


def test_keys_that_are_none(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    bundle = write_tiny_bundle(tmp_path / "bundle")
    (tmp_path / "text.pem").write_text("mine")
    private, public = write_keys(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    curve, curve_public = write_keys(tmp_path, "bitcoin", ec.generate_private_key(ec.SECP256K1()))
    for path, message in (
        (tmp_path / "nothing.pem", r"nothing\.pem cannot be read \(No such file or directory\); give a private key"),
        (tmp_path / "text.pem", r"text\.pem holds no private key in PEM without a password; make one with `openssl"),
        (private, r"rsa\.pem is another kind of key, but an elliptic curve key on secp256r1"),
        (curve, r"bitcoin\.pem is a key on curve secp256k1, but"),
    ):
        with pytest.raises(SigningError, match=message):
            sign_bundle(bundle, path)
    for path, message in (
        (tmp_path / "nothing.pub", r"nothing\.pub cannot be read"),
        (tmp_path / "text.pem", r"text\.pem holds no public key in PEM; make one with `openssl"),
        (public, r"rsa\.pub is another kind of key"),
        (curve_public, r"bitcoin\.pub is a key on curve secp256k1"),
    ):
        with pytest.raises(SigningError, match=message):
            read_public_key(path)
    assert not (bundle / SIGNATURE).exists()


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    bundle = write_tiny_bundle(tmp_path / "bundle")
    with pytest.raises(SigningError, match=r"signing needs the package cryptography, .*install facsimile\[sign\]"):
        sign_bundle(bundle, keys[0])
    with pytest.raises(SigningError, match=r"signatures need the package cryptography, .*install facsimile\[sign\]"):
        require_signature(read_bundle(bundle), keys[1])


def test_the_command(signed: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(signed), "--key", str(keys[0])]) == 0
    assert capsys.readouterr().out == f"signed {signed / SIGNATURE}\n"
    (signed / "graph.onnx").write_bytes(b"")
    assert main([str(signed), "--key", str(keys[0])]) == 2
    assert "error: " in capsys.readouterr().err


def test_many_files_and_tables_are_predicted_only_with_what_was_signed(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, other = write_keys(tmp_path, "other")
    table = write_house_bundle(tmp_path / "table")
    sign_bundle(table, keys[0])
    (tmp_path / "rows.csv").write_text("rooms,alley,area\n3,Pave,80\n")
    for bundle, source in ((signed, ROOT / "docs" / "drawings" / "seven.png"), (table, tmp_path / "rows.csv")):
        out = tmp_path / "out.csv"
        arguments = [str(bundle), str(source), "--out", str(out), "--provider", "cpu", "--require-signature"]
        for key, message in (
            (other, r"model\.sig was made with key .*; give the key of whom you trust, or get the bundle from them"),
            (tmp_path / "nothing.pub", r"key .*nothing\.pub cannot be read \(.*\); give a public key in PEM"),
        ):
            assert predict([*arguments, str(key)]) == 2
            assert re.fullmatch(rf"error: .*{message}\n", capsys.readouterr().err)
            assert not out.exists()
        assert predict([*arguments, str(keys[1])]) == 0
        capsys.readouterr()
        assert out.is_file()
        out.unlink()
        (bundle / SIGNATURE).unlink()
        assert predict([*arguments, str(keys[1])]) == 2
        assert "has no model.sig, but a signature is required; sign it with" in capsys.readouterr().err


def test_the_server_takes_only_what_was_signed(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    with serving(str(signed), "--require-signature", str(keys[1]), "--no-page", cwd=tmp_path) as served:
        assert served.url.startswith("http://127.0.0.1:")
    _, other = write_keys(tmp_path, "other")
    unsigned = write_tiny_bundle(tmp_path / "unsigned")
    for bundle, key, message in ((signed, other, "was made with key"), (unsigned, keys[1], "error: ")):
        result = run_command("serve", str(bundle), "--require-signature", str(key), cwd=tmp_path, check=False)
        assert result.returncode == 2
        assert message in result.stderr
        assert "Traceback" not in result.stderr
