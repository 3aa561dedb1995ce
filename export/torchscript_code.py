"""The code inside a TorchScript file, read as text before torch runs any of it."""

import io
import re
import zipfile

from serve.bundle import BundleError

# of all of torch's and torchvision's operators, those that take the name of a file
FILE_OPERATORS = ("save", "from_file", "load_tensor", "read_file", "write_file")
_NAME = re.compile(rf"\b((?:torch|ops\.\w+)\.(?:{'|'.join(FILE_OPERATORS)}))\b")
_STRING = r"\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
_STRING_OR_COMMENT = re.compile(rf"({_STRING})|#[^\n]*")
_DOT = re.compile(r"(?:\\\n|\s)*\.(?:\\\n|\s)*")


def check_code(content: bytes) -> None:
    """Refuse a file whose code names an operator that reads or writes files: some of it runs while it is loaded.

    Raises:
        BundleError: it does, or the bytes are no archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sources = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, UnicodeDecodeError, EOFError, OSError) as error:
        raise BundleError(f"the TorchScript file cannot be read ({error}); export it again") from error
    for source in sources:
        for text in (source, _STRING_OR_COMMENT.sub(lambda match: '""' if match.group(1) else "", source)):
            found = _NAME.search(_DOT.sub(".", text))
            if found is not None:
                raise BundleError(
                    f"the TorchScript file calls {found.group(1)}, which reads or writes files, but a graph only "
                    "computes; do not run it, and export the network without it"
                )
