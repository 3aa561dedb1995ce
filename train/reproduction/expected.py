"""All that the notes print of each recipe; the one place where their numbers stand."""

from train.reproduction import clothes, food, linear, lines, points
from train.reproduction.judge import Figure, Range

DIGITS = (
    Figure(
        name="test accuracy %, last epoch",
        quantities=("test_percent",),
        rule=Range(low=98, high=100, why="what this project promises of its own recipe"),
        source="not in the notes",
    ),
)

FIGURES: dict[str, tuple[Figure, ...]] = {
    "digits": DIGITS,
    "fashion-tinyvgg": clothes.FASHION_TINYVGG,
    "fashion-softmax-scratch": clothes.FASHION_SOFTMAX_SCRATCH,
    "fashion-softmax": clothes.FASHION_SOFTMAX,
    "fashion-softmax-1000": clothes.FASHION_SOFTMAX_1000,
    "fashion-mlp": clothes.FASHION_MLP,
    "fashion-dropout-mlp": clothes.FASHION_DROPOUT_MLP,
    "fashion-v0": clothes.FASHION_V0,
    "fashion-v1": clothes.FASHION_V1,
    "food-tinyvgg": food.FOOD_TINYVGG,
    "food-tinyvgg-augmented": food.FOOD_TINYVGG_AUGMENTED,
    "food-improved-tinyvgg": food.FOOD_IMPROVED_TINYVGG,
    "line-parameters": lines.LINE_PARAMETERS,
    "line-linear": lines.LINE_LINEAR,
    "line-deep": lines.LINE_DEEP,
    "linreg-scratch": linear.LINREG_SCRATCH,
    "linreg": linear.LINREG,
    "weight-decay-0": linear.WEIGHT_DECAY_0,
    "weight-decay-3": linear.WEIGHT_DECAY_3,
    "circles-v0": points.CIRCLES_V0,
    "circles-v1": points.CIRCLES_V1,
    "circles-v2": points.CIRCLES_V2,
    "blobs": points.BLOBS,
    "house-prices": linear.HOUSE_PRICES,
    "polynomial": linear.POLYNOMIAL,
    "polynomial-1": linear.POLYNOMIAL,
    "polynomial-20": linear.POLYNOMIAL,
}


def quantities_of(recipe: str) -> frozenset[str]:
    """Return which of our numbers a recipe's figures ask for."""
    return frozenset(quantity for figure in FIGURES[recipe] for quantity in figure.quantities)
