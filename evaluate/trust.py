"""Whether a bundle may be loaded at all: of a stranger's exported program, torch runs what he likes."""

from pathlib import Path

from serve.bundle import Bundle, BundleError, read_bundle
from serve.signing import require_signature


def read_trusted(path: Path, *, trust: bool, public_key: Path | None, certificate: bool = True) -> Bundle:
    """Read a bundle to judge, before anything of it is loaded by torch.

    Args:
        path: Its directory.
        trust: Whether who made it is trusted with running code here.
        public_key: PEM file; where it is given, its owner must have signed the bundle, and is trusted.
        certificate: Whether its certificate is read.

    Raises:
        BundleError: it is missing or altered, not signed by that key, or holds an exported program of nobody trusted.
        SigningError: the key cannot be used.
    """
    bundle = read_bundle(path, certificate=certificate)
    if public_key is not None:
        require_signature(bundle, public_key)
    elif not trust:
        refuse_programs(bundle)
    return bundle


def refuse_programs(bundle: Bundle) -> None:
    """Refuse a bundle with an exported program. Nothing else in a bundle can run Python of its author's.

    Raises:
        BundleError: it has one.

    Source: `torch.export.load` of torch 2.15 unpickles weights and constants with ``weights_only=False`` where the file
    says so, evaluates text as Python by `sympy.sympify`, and resolves names such as ``torch.os.system`` in its graph.
    """
    entry = bundle.entry("exported-program")
    if entry is not None:
        raise BundleError(
            f"{bundle.path / entry.path} is an exported program, but torch runs any code that its author put there as "
            "it loads it; give --trust if the bundle is your own, or --require-signature KEY if somebody you trust "
            "signed it"
        )
