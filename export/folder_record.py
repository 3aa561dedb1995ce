"""How a bundle says that it was trained on a folder of images, so that the held-out ones can be found."""

from serve.bundle import Manifest
from train.folder_recipe import IMAGE_FOLDER
from train.recipes.recipe import ImageFolder, RecipeError

Record = dict[str, int | float | str | bool | None]


def record_folder(folder: ImageFolder) -> Record:
    """Return what the manifest's ``provenance.training`` holds; the name is its ``dataset``."""
    return {"data": IMAGE_FOLDER, "test_share": folder.test_share, "split_seed": folder.split_seed}


def recorded_folder(manifest: Manifest) -> ImageFolder | None:
    """Return the folder that a bundle's model was trained on, or None where it was something else.

    Raises:
        RecipeError: the manifest says of it what cannot be.
    """
    provenance = manifest.provenance
    training = provenance.training
    if provenance.recipe is not None or training.get("data") != IMAGE_FOLDER:
        return None
    share, seed = training.get("test_share"), training.get("split_seed")
    if not (share is None or isinstance(share, float)) or not (seed is None or isinstance(seed, int)):
        raise RecipeError(f"folder {provenance.dataset} has test share {share!r} and split seed {seed!r}, no numbers")
    return ImageFolder(name=provenance.dataset, test_share=share, split_seed=seed)
