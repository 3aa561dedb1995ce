"""The eager module that a bundle is judged by: built again from its weights, or given by the caller."""

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.certificate import Check
from evaluate.inputs import LARGEST_BATCH, Arrays
from evaluate.runners import eager_runner
from evaluate.trouble import ParityError
from export.deployable import rebuild, to_float64, wrap_like
from export.factory import Factory
from export.first_line import first_line
from export.module_runner import ModuleRunner, run_batches
from export.reference import Reference
from export.said_dtypes import Leaks
from export.shared_weights import copy_sharing_weights
from serve.bundle import Bundle, BundleError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Eager:
    """One module, in float32 and in float64; where rows of one batch depend on each other, each is run alone."""

    module: nn.Module
    single: ModuleRunner
    double: ModuleRunner
    batch_size: int = LARGEST_BATCH
    reference: Reference | None = None

    @property
    def float32_operators(self) -> tuple[str, ...]:
        """Names of operators that have no float64, so that the reference is weaker there; of those that have run."""
        return tuple(sorted(self.reference.float32_operators)) if self.reference is not None else ()

    def run(
        self, inputs: Arrays, *, batch_size: int = LARGEST_BATCH, sizes: tuple[int, ...] = ()
    ) -> dict[str, NDArray[Any]]:
        """Run any number of rows in float32, in batches of at most `batch_size`: torch rounds otherwise in others.

        Raises:
            ParityError: it fails, or gives float64, because forward keeps what the reference made.
        """
        run = partial(
            run_batches,
            self.single,
            inputs,
            batch_size=batch_size if self.batch_size > 1 else 1,
            sizes=sizes if self.batch_size > 1 else (),
        )
        try:
            outputs = run()
        except Exception:
            _refuse_leaks(run)
            raise
        if any(values.dtype == np.float64 for values in outputs.values()):
            _refuse_leaks(run)
        return outputs

    def run64(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run any number of rows in float64."""
        return run_batches(self.double, inputs, batch_size=self.batch_size)


def _refuse_leaks(run: Callable[[], object]) -> None:
    """Run once more, and see whether it is the reference's own tensors that are in the way."""
    with Leaks() as leaks, suppress(Exception):
        run()
    if leaks.found:
        raise ParityError(
            f"the network keeps tensors of one run for the next, outside of itself: {leaks.found[0]} takes float64 of "
            "the reference, but float32 of its own was expected; keep tables on the module, by register_buffer, and "
            "not in a global or by functools.cache"
        )


def eager_of(
    bundle: Bundle, *, factory: Factory | None = None, module: nn.Module | None = None
) -> tuple[Eager, tuple[Check, ...]]:
    """Return the module that a bundle claims to be, and what was checked of it.

    Args:
        bundle: A checked bundle.
        factory: What builds its network, where that is none of this project's own.
        module: The network itself, where it is at hand; its copy shares the memory of its parameters.

    Raises:
        BundleError: it cannot be built, or what is given is not what the bundle was made from.
    """
    checks: tuple[Check, ...] = ()
    if module is None:
        deployable = rebuild(bundle, factory=factory)
    else:
        network = copy_sharing_weights(module).cpu().float()
        checks = (_weights_check(bundle, network),)
        deployable = wrap_like(bundle.manifest, network)
    reference = to_float64(deployable)
    eager = Eager(
        module=deployable,
        single=eager_runner(deployable, bundle),
        double=eager_runner(reference, bundle),
        batch_size=LARGEST_BATCH if bundle.manifest.row_independent else 1,
        reference=reference,
    )
    return eager, checks


def checked_eager(bundle: Bundle, *, factory: Factory | None = None, module: nn.Module | None = None) -> Eager:
    """Return the module that a bundle claims to be, for those who measure what they do not judge; see `eager_of`.

    Raises:
        BundleError: also where the module that is given has other weights than the bundle.
    """
    eager, checks = eager_of(bundle, factory=factory, module=module)
    for check in checks:
        if not check.passed:
            raise BundleError(f"{bundle.path} is not the module given: {check.detail}")
    return eager


def _weights_check(bundle: Bundle, network: nn.Module) -> Check:
    """Check that the weights in the bundle are those of the module at hand."""
    entry = bundle.entry("state-dict")
    if entry is None:
        raise BundleError(f"{bundle.path} holds no state_dict, so nothing can be built from it; export it again")
    try:
        stored = torch.load(io.BytesIO(bundle.read(entry)), map_location="cpu", weights_only=True)
        own = network.state_dict()
        unlike = [
            key
            for key in sorted({*stored, *own})
            if key not in stored or key not in own or not torch.equal(stored[key], own[key])
        ]
    except Exception as error:  # of hostile bytes, torch's reader raises whatever its parts do
        raise BundleError(
            f"{bundle.path / entry.path} holds no tensors by name ({first_line(error)}); export it again"
        ) from error
    if not unlike:
        return Check(name="weights", passed=True, detail=f"{len(own)} tensors, equal to those of the module given")
    detail = f"{len(unlike)} tensors of {entry.path} are not the module's, {unlike[0]} among them; export it again"
    return Check(name="weights", passed=False, detail=detail)
