"""The certificate that a bundle carries, read whole."""

import os

from evaluate.certificate import Certificate
from serve.bundle import CERTIFICATE, MAX_CERTIFICATE_BYTES, Bundle, BundleError, check_certificate, decode_sealed
from serve.bundle_files import read_document


def stored_certificate(bundle: Bundle) -> Certificate | None:
    """Return the certificate in a bundle, or None where it has none.

    Raises:
        BundleError: it was altered, speaks of another bundle, or is not one that this version writes.
    """
    path = bundle.path / CERTIFICATE
    if not os.path.lexists(path):
        return None
    document = read_document(path, MAX_CERTIFICATE_BYTES)
    check_certificate(document, path, bundle.manifest)
    try:
        return decode_sealed(document, Certificate, path)
    except BundleError as error:
        raise BundleError(f"{error}; run `python -m evaluate parity {bundle.path}` again") from error
