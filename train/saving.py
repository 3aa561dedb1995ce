"""Writing a run again and again: where that fails, training goes on, and at last another place is tried."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from train.errors import RunError

if TYPE_CHECKING:
    from train.fit import Fitted

MOST_RESCUED = 100


@dataclass(slots=True, kw_only=True)
class Saving:
    """Writes one training's run, again and again.

    Attributes:
        out: Where to.
        overwrite: Whether a finished run there may be replaced.
        written: Whether a run of this training stands there.
        failed: Whether writing it failed before.
    """

    out: Path
    overwrite: bool
    written: bool = False
    failed: bool = False

    def save_on_the_way(self, fitted: "Fitted", say: Callable[[str], None]) -> None:
        """Write an unfinished run; where that fails, say so the first time, and go on."""
        try:
            self._write(self.out, fitted)
        except RunError as error:
            if not self.failed:
                say(f"{error}; training goes on, and {self.state()}")
            self.failed = True

    def save_at_last(self, fitted: "Fitted") -> None:
        """Write the run for good.

        Raises:
            RunError: that failed; it says where the run stands instead, or what is left.
        """
        try:
            self._write(self.out, fitted)
        except RunError as error:
            rescued = self._rescue(fitted)
            if rescued is None:
                raise RunError(f"{error}; nothing could be written beside it either, and {self.state()}") from error
            raise RunError(f"{error}; the run stands in {rescued} instead, and {self.state()}") from error

    def state(self) -> str:
        """Say what stands in the place."""
        return f"{self.out} is as it was last written" if self.written else f"nothing was written to {self.out}"

    def _write(self, path: Path, fitted: "Fitted") -> None:
        from train.write import write_run

        # a run that is written again is this very one
        overwrite = self.overwrite or self.written
        write_run(path, fitted.run, fitted.weights, fitted.history, checkpoint=fitted.checkpoint, overwrite=overwrite)
        if path == self.out:
            self.written = True

    def _rescue(self, fitted: "Fitted") -> Path | None:
        """Write the run beside its place, and return where; None where that fails, too."""
        name = f"{self.out.resolve().name}-rescued"
        for number in range(1, MOST_RESCUED):
            path = self.out.parent / (name if number == 1 else f"{name}-{number}")
            if path.exists() or path.is_symlink():
                continue
            try:
                self._write(path, fitted)
            except RunError:
                return None
            return path
        return None
