"""Which of the factories that the user names builds the network of which bundle, found out before all else."""

from collections.abc import Sequence

from evaluate.source import golden_of
from evaluate.stored import stored_certificate
from export.deployable import rebuild
from export.errors import ExportError
from export.factory import Factory, load_factory
from serve.bundle import Bundle, BundleError
from train.wording import some_names

Builder = tuple[Factory, str]
"""A factory, and what the user named it by."""


def builders_of(bundles: Sequence[Bundle], named: Sequence[str]) -> tuple[Builder | None, ...]:
    """Return what builds each bundle's network, None where a recipe of this project does, and try that it does.

    Args:
        bundles: Checked bundles.
        named: Factories as `export.factory.load_factory` takes them. Of those with the name that a bundle records, the
            one whose source it was exported from counts.

    Raises:
        BundleError: a bundle takes a factory that is not among them, cannot be built, has no golden inputs, or carries
            a certificate that cannot be read.
        ExportError: a factory cannot be imported, or is none of any bundle's.
    """
    builders = [(load_factory(name), name) for name in dict.fromkeys(named)]
    found = tuple(_builder_of(bundle, builders) for bundle in bundles)
    for bundle in bundles:
        stored_certificate(bundle)
    for bundle, builder in zip(bundles, found, strict=True):
        if builder is not None and len(bundles) > 1 and not _is_source(bundle, builder):
            name = bundle.manifest.provenance.factory
            raise BundleError(
                f"{bundle.path} was built by another {name} than --factory {builder[1]} is now; add --factory "
                f"PATH/{name} of the file as it was, or export again"
            )
        rebuild(bundle, factory=builder[0] if builder else None)
        golden_of(bundle)
    recorded = tuple(dict.fromkeys(bundle.manifest.provenance.factory for bundle in bundles))
    for factory, name in builders:
        if factory.name not in recorded:
            names = some_names([one or "no factory" for one in recorded])
            raise ExportError(f"--factory is {name}, but what is given was built by {names}; leave it out")
    return found


def _builder_of(bundle: Bundle, builders: Sequence[Builder]) -> Builder | None:
    origin = bundle.manifest.provenance
    mine = [builder for builder in builders if builder[0].name == origin.factory]
    return next((builder for builder in mine if _is_source(bundle, builder)), mine[0] if mine else None)


def _is_source(bundle: Bundle, builder: Builder) -> bool:
    return builder[0].sha256 == bundle.manifest.provenance.factory_sha256
