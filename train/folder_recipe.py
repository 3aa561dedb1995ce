"""The recipe of images of one's own: from a folder and a few choices to all that decides what is computed."""

import re
from dataclasses import dataclass, fields, replace
from typing import Literal

from serve.bundle import ImagePreprocessing
from train.folder_listing import Listing
from train.image_models import Color, find_image_model, model_name
from train.recipes.recipe import ImageFolder, Recipe, RecipeError

IMAGE_FOLDER = "image-folder"  # what `Recipe.data` says
LEAST_SIDE, MOST_SIDE = 8, 1024
TEST_SHARE = 0.2
EPOCHS = 20
MEAN, STD = 0.5, 0.25  # of pixel / 255: photos then begin to be learnt some epochs earlier than unscaled

Fit = Literal["stretch", "crop", "ink"]
Augment = Literal["none", "trivial-wide", "vary-pen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChoices:
    """What is chosen for a folder; None for what is usual.

    Attributes:
        model: A name in `train.image_models.IMAGE_MODELS`; tinyvgg.
        size: Pixels of both sides of what the network gets; 64.
        fit: How an image becomes a square; stretch.
        color: RGB, but L for ink and for networks that take nothing else.
        augment: How training images are varied; none.
        test_share: Of each class to hold out where the folder is not split; 0.2.
        split_seed: Decides which images; 0.
    """

    model: str | None = None
    size: int | None = None
    fit: Fit | None = None
    color: Color | None = None
    augment: Augment | None = None
    test_share: float | None = None
    split_seed: int | None = None

    def filled_from(self, recorded: "FolderChoices", owner: str) -> "FolderChoices":
        """Return what was chosen for a run that is to be gone on with.

        Raises:
            RecipeError: something else is asked for now.
        """
        for field in fields(self):
            asked, was = getattr(self, field.name), getattr(recorded, field.name)
            if asked is not None and was is not None and asked != was:
                raise RecipeError(
                    f"{owner} was trained with --{field.name.replace('_', '-')} {was}, but {asked} is asked for; leave "
                    "it out, or train again without --resume"
                )
        missing = {field.name for field in fields(self) if getattr(self, field.name) is None}
        return replace(self, **{name: getattr(recorded, name) for name in missing})


def folder_recipe(name: str, listing: Listing, choices: FolderChoices) -> Recipe:
    """Return the recipe; its ``parameters`` are 0, because counting them takes torch.

    Args:
        name: The folder's own name.
        listing: What it holds.
        choices: What is to be other than usual.

    Raises:
        RecipeError: the choices do not go together, or not with the folder.
    """
    chosen = choices.model or "tinyvgg"
    model = find_image_model(chosen)
    size, fit = choices.size or 64, choices.fit or "stretch"
    if choices.size == 0 or not LEAST_SIDE <= size <= MOST_SIDE or size % model.multiple:
        raise RecipeError(
            f"--size is {choices.size}, but model {chosen} takes multiples of {model.multiple} from {LEAST_SIDE} to "
            f"{MOST_SIDE}; give one such as 64"
        )
    color = choices.color or ("L" if fit == "ink" else model.colors[0])
    if color not in model.colors:
        raise RecipeError(f"--color is {color}, but model {chosen} takes {model.colors[0]} alone; leave it out")
    augmentation = None if choices.augment in {None, "none"} else choices.augment
    if augmentation == "vary-pen" and color != "L":
        raise RecipeError(
            "--augment is vary-pen, which varies white drawings on black, but images are RGB; give --fit ink, or "
            "--augment trivial-wide"
        )
    channels = 1 if color == "L" else 3
    image = {"height": size, "width": size} | ({"channels": channels} if "RGB" in model.colors else {})
    return Recipe(
        name=recipe_name(name, chosen),
        title=folder_title(name, size, model.factory),
        task="classification",
        data=IMAGE_FOLDER,
        labels=listing.labels,
        factory=model.factory,
        factory_args={**image, **model.args, "classes": len(listing.labels)},
        parameters=0,
        preprocessing=ImagePreprocessing(
            color=color,
            height=size,
            width=size,
            fit=fit,
            resize=size if fit == "crop" else None,
            drawing=fit == "ink",
        ),
        mean=(MEAN,) * channels,
        std=(STD,) * channels,
        augmentation=augmentation,
        optimizer="adam",
        learning_rate=0.001,
        epochs=EPOCHS,
        folder=_held_out(name, listing, choices),
        notes="images of one's own",
    )


def folder_title(name: str, size: int, factory: str) -> str:
    """Say in a few words what is trained on what."""
    return f"Images of {name}, {size}x{size}, by {model_name(factory) or factory}"


def recipe_name(name: str, model: str) -> str:
    """Return what a folder's recipe, run and bundle are called; what may not stand in such a name becomes a dash."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-._') or 'images'}-{model}"


def _held_out(name: str, listing: Listing, choices: FolderChoices) -> ImageFolder:
    if not listing.is_split:
        return ImageFolder(
            name=name,
            test_share=TEST_SHARE if choices.test_share is None else choices.test_share,
            split_seed=choices.split_seed or 0,
        )
    if choices.test_share is not None or choices.split_seed is not None:
        flag = "--split-seed" if choices.test_share is None else "--test-share"
        raise RecipeError(
            f"{flag} is given, but {listing.path} has folders train and test, so that nothing is left to split; leave "
            "it out"
        )
    return ImageFolder(name=name)
