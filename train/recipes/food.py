"""Photos of pizza, steak and sushi by TinyVGG: plain, augmented, and with wider layers and dropout."""

from dataclasses import replace

from serve.bundle import ImagePreprocessing
from train.recipes.recipe import Recipe

FOOD_LABELS = ("pizza", "steak", "sushi")
FOOD_PREPROCESSING = ImagePreprocessing(color="RGB", height=64, width=64)

FOOD_TINYVGG = Recipe(
    name="food-tinyvgg",
    title="Photos of pizza, steak and sushi, 64x64, by TinyVGG",
    task="classification",
    data="pizza-steak-sushi",
    labels=FOOD_LABELS,
    factory="train.models.food_tinyvgg:FoodTinyVGG",
    factory_args={"channels": 3, "height": 64, "width": 64, "hidden_units": 10, "classes": 3},
    parameters=10_693,
    preprocessing=FOOD_PREPROCESSING,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    optimizer="adam",
    learning_rate=0.001,
    batch_size=32,
    epochs=5,
    threads=2,
    seed_order=False,
    notes_accuracy=0.1979,  # mean over batches of 32, 32 and 11: over rows, the same answers are right for 0.2533
    notes_loss=1.1426,
    notes="003 S11",
)

FOOD_TINYVGG_AUGMENTED = replace(
    FOOD_TINYVGG,
    name="food-tinyvgg-augmented",
    title="Photos of pizza, steak and sushi, 64x64, by TinyVGG, training images varied",
    augmentation="trivial-wide",
    seed_order=True,
    notes_accuracy=0.2604,  # mean over batches, as above: over rows 0.3333
    notes_loss=1.1472,
    notes="003 S12",
)

FOOD_IMPROVED_TINYVGG = replace(
    FOOD_TINYVGG,
    name="food-improved-tinyvgg",
    title="Photos of pizza, steak and sushi, 64x64, by a wider TinyVGG with dropout",
    factory="train.models.improved_tinyvgg:ImprovedTinyVGG",
    factory_args={"channels": 3, "height": 64, "width": 64, "hidden_units": 10, "classes": 3, "dropout": 0.5},
    parameters=1_313_847,
    notes_accuracy=None,
    notes_loss=None,
    notes="003 S13, made to fit 64x64; never trained there",
)
