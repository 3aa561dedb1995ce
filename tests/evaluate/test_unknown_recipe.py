"""What is said of a bundle whose recipe this version does not have."""

from dataclasses import replace
from pathlib import Path

import pytest

from evaluate.labelled import labelled_samples
from evaluate.source import dataset_of
from serve.bundle import BundleError, read_bundle
from tests.serve.tiny_bundle import write_tiny_bundle


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(dataset_of, id="parity"),
        pytest.param(lambda bundle, root: labelled_samples(bundle, data_root=root), id="accuracy"),
    ],
)
def test_bundle_and_manifest_are_named(read, tmp_path: Path) -> None:
    bundle = read_bundle(write_tiny_bundle(tmp_path / "tiny"))
    provenance = replace(bundle.manifest.provenance, recipe="digitz")
    bundle = replace(bundle, manifest=replace(bundle.manifest, provenance=provenance))
    with pytest.raises(BundleError) as caught:
        read(bundle, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'tiny' / 'manifest.json'} names the recipe 'digitz', but none of `python -m train list` is "
        "called that, so there is nothing to judge the bundle by; export it again, with the version that judges it"
    )
