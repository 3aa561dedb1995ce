"""A cubic with noise, fitted by a polynomial of degree 3; one of degree 1 underfits it."""

from serve.bundle import Feature
from train.recipes.recipe import Recipe

POLYNOMIAL = Recipe(
    name="polynomial",
    title="A noisy cubic, by a polynomial of degree 3",
    task="regression",
    data="polynomial",
    labels=("y",),
    factory="train.models.polynomial:Polynomial",
    factory_args={"degree": 3},
    parameters=4,
    features=(Feature(name="x"),),
    mean=(0.0,),
    std=(1.0,),
    loss="mse",
    learning_rate=0.01,
    batch_size=10,
    epochs=400,
    threads=1,
    notes="1.E: described without code or figures",
)
