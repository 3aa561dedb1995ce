"""What each runner costs before its time is taken: start, memory, compiling; and which batch sizes all can run."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import nn

from evaluate.bench.batch import batch_of
from evaluate.bench.compiled import compiler_fault
from evaluate.bench.entrants import EAGER, Entrant, compiled_entrant
from evaluate.bench.fitting import cost_of, fit, look_at
from evaluate.bench.own_process import Probed
from evaluate.bench.probe import Job, ladder
from evaluate.bench.progress import Progress
from evaluate.bench.result import COMPILED, BenchError, RunnerCost
from evaluate.bench.settings import BATCH_SIZES, Settings
from export.quiet import quiet
from serve.bundle import Bundle, BundleError

COMPILE_STEPS = 3  # it takes as long as so many other steps
_MOST_OF_SECONDS = 2  # one run, of what a runner may take at a batch size, when memory and threads are looked at
_MOST_UNASKED = 5  # the same when times are taken, at a batch size that nobody asked for


class Costs:
    """Looks at runners one by one, and keeps what it saw.

    Args:
        bundle: A checked bundle, of somebody who is trusted.
        settings: What is measured.
        inputs: Rows to fill batches with.
        factory: What builds its network, where it is the user's own.
        given: Whether the network is at hand; then eager and torch.compile have no process of their own.
        free: How much memory may be taken; None where nobody knows.
        progress: Told what goes on.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings,
        inputs: Mapping[str, NDArray[Any]],
        *,
        factory: str | None,
        given: bool,
        free: int | None,
        progress: Progress,
    ) -> None:
        self.found: list[RunnerCost] = []
        self.left_out: list[str] = []
        self.affordable = 1  # rows of the greatest run of eager's that does not take long
        self._bundle, self._settings, self._inputs = bundle, settings, inputs
        self._factory, self._given, self._free = factory, given, free
        self._progress = progress
        self._most: dict[str, int] = {}

    def sizes(self, entrants: list[Entrant], threads: int) -> tuple[int, ...]:
        """Look at each runner alone, and choose the batch sizes that fit, and do not take too long unasked.

        Raises:
            BundleError: a runner cannot run a single row.
            BenchError: not even the smallest batch fits.
        """
        probed = []
        for entrant in entrants:
            self._progress.say(f"{entrant.label}: start and memory")
            alone = self._alone(entrant)
            one = look_at(entrant, self._job(entrant, self._settings.sizes, threads), self._inputs, alone=alone)
            if one.highest is None:
                raise BundleError(f"{entrant.label} cannot be run: {one.fault or 'one row does not fit into memory'}")
            self._note_end(entrant, one)
            self.found.append(cost_of(entrant, one, alone=alone))
            probed.append(one)
            self._progress.advance()
        fitting = fit(self._settings.sizes, probed, free=self._free)
        self.left_out += fitting.left_out
        if not fitting.sizes:
            raise BenchError(fitting.left_out[0])
        sizes = self._quick_enough(fitting.sizes, probed[0])
        ran = {rung.batch_size for rung in probed[0].rungs if rung.first_s is not None}
        self.affordable = max((size for size in sizes if size in ran), default=1)
        return sizes

    def compiled(self, module: nn.Module, sizes: tuple[int, ...], threads: int) -> list[Entrant]:
        """Return the compiled module, warm, or nothing where it cannot be had; its cache must be a fresh one."""
        fault = compiler_fault()
        if fault is not None:
            self.left_out.append(f"{COMPILED} is left out: no C++ compiler is here ({fault}); install g++ or clang++")
            return []
        self._progress.say(f"{COMPILED}: compiling")
        entrant = compiled_entrant(self._bundle, module)
        alone = self._alone(entrant)
        with quiet():
            one = look_at(entrant, self._job(entrant, sizes, threads), self._inputs, alone=alone, compiles=True)
        self._progress.advance(COMPILE_STEPS)
        if one.highest is None or (alone and not self._warm(entrant, ladder(sizes)[:2])):
            self.left_out.append(f"{COMPILED} is left out: {one.fault or 'it does not run in this process'}")
            return []
        self._note_end(entrant, one)
        self.found.insert(1, cost_of(entrant, one, alone=alone, compiles=True))
        return [entrant]

    def at(self, entrants: list[Entrant], size: int) -> list[Entrant]:
        """Return those that can run a batch."""
        return [entrant for entrant in entrants if self._most.get(entrant.label, size) >= size]

    def _quick_enough(self, sizes: tuple[int, ...], eager: Probed) -> tuple[int, ...]:
        """Leave out default sizes of which one run of eager's would take too long."""
        last = eager.highest
        if self._settings.batch_sizes != BATCH_SIZES or last is None or last.first_s is None:
            return sizes
        pace, most = (last.second_s or last.first_s) / last.batch_size, _MOST_UNASKED * self._settings.seconds
        kept = tuple(size for size in sizes if pace * size <= most) or sizes[:1]
        slow = sizes[len(kept) :]
        if slow:
            self.left_out.append(
                f"batch {', '.join(map(str, slow))} is left out: one run of eager would take {pace * slow[0]:.3g} s at "
                f"{slow[0]}; ask for it with --batch-sizes"
            )
        return kept

    def _warm(self, entrant: Entrant, sizes: tuple[int, ...]) -> bool:
        """Let a compiled module make its code for one row and for many in this process, too, out of the cache."""
        try:
            with quiet():
                for rows in sizes:
                    entrant.runner.run(batch_of(self._inputs, rows))
        except Exception:  # noqa: BLE001 - a compiler raises whatever its parts do
            return False
        return True

    def _alone(self, entrant: Entrant) -> bool:
        return not self._settings.quick and not (self._given and entrant.name in {EAGER, COMPILED})

    def _job(self, entrant: Entrant, sizes: tuple[int, ...], threads: int) -> Job:
        return Job(
            bundle=str(self._bundle.path),
            bundle_sha256=self._bundle.manifest.sha256,
            runner=entrant.name,
            provider=entrant.provider,
            threads=threads,
            batch_sizes=sizes,
            factory=self._factory,
            free_bytes=self._free,
            most_s=_MOST_OF_SECONDS * self._settings.seconds,
        )

    def _note_end(self, entrant: Entrant, probed: Probed) -> None:
        """Note where a runner ended early."""
        if probed.fault is None or probed.highest is None:
            return
        self._most[entrant.label] = probed.highest.batch_size
        self.left_out.append(
            f"{entrant.label} is left out above batch {probed.highest.batch_size}: it fails there ({probed.fault})"
        )
