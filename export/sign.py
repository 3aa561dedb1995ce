"""``python -m export.sign``: sign a bundle with a private key, in the OpenSSF model signing format."""

import base64
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from export.leftovers import clear_leftovers
from serve.bundle import BundleError, read_bundle
from serve.command_line import told_in_one_sentence
from serve.signing import (
    MAKE_KEY,
    MEDIA_TYPE,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    SIGNATURE,
    STATEMENT_TYPE,
    SigningError,
    check_curve,
    digests,
    hash_of,
    key_hint,
    signed_bytes,
)
from train.whole_file import write_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_PROG = "python -m export.sign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Sign every file of a bundle, its certificate included: certify first, then sign.

    The signature is model.sig in the bundle, and `model_signing verify key` reads it, too. Serve checks it with
    --require-signature.
    """

    bundle: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
    """Directory that `python -m export` wrote."""
    key: Path
    """Private key, PEM without a password, on curve P-256, P-384 or P-521."""


def sign_bundle(path: Path, private_key: Path) -> Path:
    """Sign a bundle, and return the path of the signature; an earlier one is replaced.

    What systems leave in folders, and a kill of writing a certificate, is taken away: whoever signs did not make it.

    Raises:
        BundleError: the bundle is not whole.
        SigningError: the key cannot be used.
    """
    key = _read_private_key(private_key)
    from cryptography.hazmat.primitives.asymmetric import ec

    bundle = read_bundle(path)
    clear_leftovers(path)
    files = digests(path)
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": bundle.manifest.name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE],
            },
            "resources": [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in files.items()],
        },
    }
    payload = json.dumps(statement, indent=2).encode()
    signature = key.sign(signed_bytes(payload), ec.ECDSA(hash_of(key)))
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key_hint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    target = path / SIGNATURE
    write_whole(target, json.dumps(document).encode())
    return target


def main(args: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    with told_in_one_sentence(Sign, prog=_PROG, args=args):
        command = tyro.cli(Sign, prog=_PROG, args=args)
    try:
        signature = sign_bundle(command.bundle, command.key)
    except (BundleError, SigningError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"signed {signature}")  # noqa: T201
    return 0


def _read_private_key(path: Path) -> "EllipticCurvePrivateKey":
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError as error:
        raise SigningError(
            "signing needs the package cryptography, which is not installed; install facsimile[sign]"
        ) from error
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise SigningError(f"key {path} cannot be read ({error.strerror}); give a private key in PEM") from error
    except Exception as error:  # of other bytes, cryptography raises one of many
        raise SigningError(
            f"key {path} holds no private key in PEM without a password; make one with `{MAKE_KEY}`"
        ) from error
    found: ec.EllipticCurvePrivateKey = check_curve(key if isinstance(key, ec.EllipticCurvePrivateKey) else None, path)
    return found


if __name__ == "__main__":
    sys.exit(main())
