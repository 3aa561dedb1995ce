"""Four houses with missing values and a category: the preprocessing of the source notes, inside a model."""

from serve.bundle import Feature
from train.recipes.recipe import Recipe

HOUSE_PRICES = Recipe(
    name="house-prices",
    title="Prices of four houses, with missing values and a category; tested on the rows it is trained on",
    task="regression",
    data="house-prices",
    labels=("Price",),
    factory="train.models.linear:linear_stack",
    factory_args={"features": 3, "hidden_layers": 0, "hidden_units": 0, "outputs": 1},
    parameters=4,
    features=(Feature(name="NumRooms", optional=True), Feature(name="Alley", categories=("Pave",), optional=True)),
    mean=(3.0, 0.0),
    std=(1.0, 1.0),
    loss="mse",
    learning_rate=0.3,
    batch_size=None,
    epochs=200,
    threads=1,
    notes="S-PANDAS: its filled-in mean of 3 rooms and its columns; the notes stop before a model, and hold out no row",
)
