"""All architectures, one after the other; what passed already, with the same settings, is kept."""

from collections.abc import Callable, Sequence
from pathlib import Path

from evaluate.zoo.examine import examine
from evaluate.zoo.page import write_page
from evaluate.zoo.result import Result, Settings, read_result, write_result
from evaluate.zoo.weights import architectures, smallest_first
from train.revision import source_revision
from train.workplace import NEW, Kind, put_back, workplace

_WORK = Kind(name="zoo", last="bundle", is_whole=lambda _: False)  # nothing of it is kept


class ZooError(ValueError):
    """A request for the zoo that cannot be carried out."""


def examine_all(
    names: Sequence[str],
    folder: Path,
    *,
    settings: Settings,
    page: Path | None,
    again: bool = False,
    on_start: Callable[[str, int, int], None],
    on_result: Callable[[Result, bool], None],
) -> tuple[Result, ...]:
    """Export and certify architectures, smallest first where all are meant.

    Args:
        names: torchvision's names; none means all.
        folder: Where a file per architecture stands, and stays.
        settings: See `examine`.
        page: Where to write the page of all results in the folder that have these settings, after each architecture.
        again: Do not keep what is there.
        on_start: Told which architecture comes, the how many-th, and of how many.
        on_result: Told each result, and whether it was there already.

    Raises:
        ZooError: torchvision has no such architecture, or the folder cannot be written to.
    """
    known = architectures()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ZooError(
            f"{unknown[0]!r} is none of torchvision's {len(known)} classification architectures; they are "
            f"{', '.join(known)}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(
            f"{folder} cannot be a folder ({error.strerror}), but results stand there; give another --out"
        ) from error
    for name in known:
        put_back(folder / name, _WORK)  # there is nothing to put back, but gigabytes that kills left to clear
    chosen = tuple(names) or smallest_first(known)
    for index, name in enumerate(chosen):
        on_start(name, index, len(chosen))
        result = None if again else read_result(folder, name)
        kept = result is not None and result.settings == settings and (result.passed or _same_source(result))
        if result is None or not kept:
            with workplace(folder / name, _WORK) as place:
                result = examine(name, place / NEW, settings=settings)
            write_result(folder, result)
        on_result(result, kept)
        if page is not None:
            write_page(page, results_in(folder, settings), settings=settings, of=len(known))
    return results_in(folder, settings)


def _same_source(result: Result) -> bool:
    """Return whether what does not pass was made with this source: another may have been mended."""
    return result.source_revision is not None and result.source_revision == source_revision()


def results_in(folder: Path, settings: Settings) -> tuple[Result, ...]:
    """Return the results that a folder holds, of these settings, in the order of torchvision's names."""
    found = (read_result(folder, name) for name in architectures())
    return tuple(result for result in found if result is not None and result.settings == settings)
