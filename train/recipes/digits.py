"""The recipe of the demo: handwritten digits that scikit-learn carries, so that nothing is downloaded."""

from serve.bundle import ImagePreprocessing
from train.recipes.recipe import Recipe

DIGITS = Recipe(
    name="digits",
    title="Handwritten digits, 8x8, by a small CNN",
    task="classification",
    data="digits",
    labels=tuple("0123456789"),
    factory="train.models.digits_cnn:DigitsCNN",
    factory_args={"height": 8, "width": 8, "hidden_units": 32, "classes": 10, "dropout": 0.3},
    parameters=121_994,
    preprocessing=ImagePreprocessing(color="L", height=8, width=8, fit="ink", background=0, drawing=True),
    mean=(0.31,),
    std=(0.37,),
    augmentation="vary-pen",
    optimizer="adam",
    learning_rate=0.001,
    batch_size=32,
    epochs=60,
    threads=1,
    notes="the project's own: data that needs no download, drawings that people can make themselves",
)
