"""What to say where the base install lacks what training, exporting and evaluating need."""

PACKAGES = frozenset({"matplotlib", "onnx", "onnxscript", "safetensors", "scipy", "sklearn", "torch", "torchvision"})


def explain_missing(error: ModuleNotFoundError) -> str:
    """Return one sentence that names the package and the remedy.

    Raises:
        ModuleNotFoundError: the error itself, where the package is none of the extra's: then it is a fault of ours.
    """
    package = (error.name or "").partition(".")[0]
    if package not in PACKAGES:
        raise error
    return f"{package} is not installed, but this command needs it; pip install 'facsimile[train]'"
