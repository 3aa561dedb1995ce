"""Names that somebody gives to the classes, columns and tensors of a network of one's own."""

from export.errors import ExportError
from serve.legible import has_unfit_signs


def refuse_unreadable(names: tuple[str, ...], given: str) -> None:
    """Refuse names that show nothing, or steer a terminal or a page that shows them."""
    for index, name in enumerate(names, start=1):
        if not name.strip() or has_unfit_signs(name):
            raise ExportError(
                f"{given} {index} {name!r}, but a name is one line of letters that show, without control "
                "characters; rename it"
            )
