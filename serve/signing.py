"""Signatures of bundles in the OpenSSF model signing format: what is signed, and whether it is what lies here.

`model.sig` is a Sigstore bundle with a DSSE envelope around an in-toto statement, which lists the sha256 of every file.
Only keys are read: nothing is asked of a network. `cryptography` is the extra ``sign``, imported where it is needed.

Source: OpenSSF model signing v1.0, as model-signing 1.1 reads and writes it; DSSE v1 for what exactly is signed.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from serve.bundle import CERTIFICATE, MANIFEST, Bundle, BundleError, check_seal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

SIGNATURE = "model.sig"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
MAKE_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out private.pem"
_MAX_BYTES = 16 << 20
_SIGN_AGAIN = "sign it again with `python -m export.sign`, if what lies here is right"


class SigningError(ValueError):
    """A key that cannot be used, or `cryptography` that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    payload: bytes
    signature: bytes
    hint: str


def require_signature(bundle: Bundle, public_key: Path) -> None:
    """Check that a bundle, as it was read and as it lies there, is what the owner of a key signed.

    Args:
        bundle: A checked bundle.
        public_key: PEM file of an elliptic curve key.

    Raises:
        BundleError: the bundle is unsigned, signed with another key, or differs from what was signed.
        SigningError: the key cannot be used.
    """
    signed = signed_digests(bundle.path / SIGNATURE, public_key)
    found = digests(bundle.path)
    for name in sorted({*signed, *found}):
        if name not in signed:
            raise BundleError(f"{bundle.path / name} is not among the files that were signed; {_SIGN_AGAIN}")
        if name not in found:
            raise BundleError(f"{bundle.path / name} was signed, but is missing; copy the bundle whole")
        if signed[name] != found[name]:
            raise BundleError(
                f"{bundle.path / name} has sha256 {found[name][:12]}…, but {signed[name][:12]}… was signed; "
                f"{_SIGN_AGAIN}"
            )
    _require_same(bundle.path / MANIFEST, bundle.manifest.sha256, signed)
    if CERTIFICATE in signed and bundle.certificate is not None:
        _require_same(bundle.path / CERTIFICATE, bundle.certificate.sha256, signed)
    elif CERTIFICATE in signed or bundle.certificate is not None:
        raise BundleError(f"{bundle.path / CERTIFICATE} was exchanged while the bundle was read; start again")


def _require_same(path: Path, sealed: str, signed: dict[str, str]) -> None:
    """Require that what was read of a document before is what was signed."""
    document = path.read_bytes()
    if hashlib.sha256(document).hexdigest() != signed.get(path.name) or check_seal(document, path) != sealed:
        raise BundleError(f"{path} was exchanged while the bundle was read; start again")


def signed_digests(path: Path, public_key: Path) -> dict[str, str]:
    """Return the sha256 of the files that a signature speaks for, by path, once the signature is known to be right.

    Raises:
        BundleError: there is none, or it was made with another key, or altered.
        SigningError: the key cannot be used.
    """
    key = read_public_key(public_key)
    envelope = _read_envelope(path)
    if envelope.hint and envelope.hint != key_hint(key):
        raise BundleError(
            f"{path} was made with key {envelope.hint[:12]}…, but {public_key} is {key_hint(key)[:12]}…; give the key "
            "of whom you trust, or get the bundle from them"
        )
    _verify(envelope, key, path, public_key)
    return _signed_files(envelope.payload, path)


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a bundle's folder but its signature, by path, in order.

    Raises:
        BundleError: something is no regular file, or cannot be read.
    """
    found = {}
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            raise BundleError(
                f"{path} is no regular file, but one was expected; copy the bundle with its files, not links"
            )
        if name == SIGNATURE:
            continue
        try:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error.strerror}); copy the bundle whole") from error
    return found


def read_public_key(path: Path) -> "EllipticCurvePublicKey":
    """Read a PEM file.

    Raises:
        SigningError: it holds no public key on one of `CURVES`, or `cryptography` is not installed.
    """
    serialization, ec = _cryptography()
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SigningError(f"key {path} cannot be read ({error.strerror}); give a public key in PEM") from error
    except Exception as error:  # of other bytes, cryptography raises one of many
        raise SigningError(
            f"key {path} holds no public key in PEM; make one with `openssl ec -in private.pem -pubout -out public.pem`"
        ) from error
    found: EllipticCurvePublicKey = check_curve(key if isinstance(key, ec.EllipticCurvePublicKey) else None, path)
    return found


def check_curve(key: Any, path: Path) -> Any:  # noqa: ANN401 - a public or a private key
    """Return a key that the format knows.

    Raises:
        SigningError: it is of another kind.
    """
    if key is None or key.curve.name not in CURVES:
        found = "another kind of key" if key is None else f"a key on curve {key.curve.name}"
        raise SigningError(
            f"key {path} is {found}, but an elliptic curve key on {', '.join(CURVES)} was expected; make one with "
            f"`{MAKE_KEY}`"
        )
    return key


def key_hint(key: "EllipticCurvePublicKey") -> str:
    """Return the digest by which a signature names its key."""
    serialization, _ = _cryptography()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def hash_of(key: Any) -> "hashes.HashAlgorithm":  # noqa: ANN401 - a public or a private key
    """Return the hash that goes with a key's curve."""
    from cryptography.hazmat.primitives import hashes

    algorithm: hashes.HashAlgorithm = getattr(hashes, CURVES[key.curve.name])()
    return algorithm


def signed_bytes(payload: bytes) -> bytes:
    """Return what is signed of a payload: DSSE's pre-authentication encoding."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ModuleNotFoundError as error:
        raise SigningError(
            "signatures need the package cryptography, which is not installed; install facsimile[sign]"
        ) from error
    return serialization, ec


def _read_envelope(path: Path) -> _Envelope:
    if not path.is_file() or path.is_symlink():
        raise BundleError(
            f"{path.parent} has no {SIGNATURE}, but a signature is required; sign it with `python -m export.sign`"
        )
    if path.stat().st_size > _MAX_BYTES:
        raise BundleError(f"{path} has more than {_MAX_BYTES:,} bytes, so it is no signature; {_SIGN_AGAIN}")
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        envelope = document["dsseEnvelope"]
        (signature,) = envelope["signatures"]
        found = (document["mediaType"], envelope["payloadType"])
        if found != (MEDIA_TYPE, PAYLOAD_TYPE):
            raise ValueError(f"it is of type {found}")
        hint = document["verificationMaterial"].get("publicKey", {}).get("hint") or ""
        return _Envelope(
            payload=base64.b64decode(envelope["payload"], validate=True),
            signature=base64.b64decode(signature["sig"], validate=True),
            hint=str(hint),
        )
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        binascii.Error,
    ) as error:
        raise BundleError(f"{path} is no signature in the OpenSSF format ({error}); {_SIGN_AGAIN}") from error


def _verify(envelope: _Envelope, key: "EllipticCurvePublicKey", path: Path, public_key: Path) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key.verify(envelope.signature, signed_bytes(envelope.payload), ec.ECDSA(hash_of(key)))
    except InvalidSignature:
        raise BundleError(
            f"{path} does not fit {public_key}: it was altered, or made with another key; {_SIGN_AGAIN}"
        ) from None


def _signed_files(payload: bytes, path: Path) -> dict[str, str]:
    """Return the digests in a statement whose signature fits."""
    try:
        statement = msgspec.json.decode(payload, type=dict[str, Any])
        predicate = statement["predicate"]
        kinds = (statement["_type"], statement["predicateType"], predicate["serialization"]["method"])
        resources = predicate["resources"]
        algorithms = {resource["algorithm"] for resource in resources}
        if kinds != (STATEMENT_TYPE, PREDICATE_TYPE, "files") or algorithms != {"sha256"}:
            raise ValueError(f"it is of type {kinds} with {sorted(algorithms)}")
        return {str(resource["name"]): str(resource["digest"]) for resource in resources}
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} signs something else than the sha256 of files ({error}); {_SIGN_AGAIN}") from error
