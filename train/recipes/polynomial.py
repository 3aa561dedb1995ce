"""A cubic with noise, by polynomials of degree 3, of degree 1, which underfits it, and of degree 20, which overfits."""

from dataclasses import replace

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

POLYNOMIAL_1 = replace(
    POLYNOMIAL,
    name="polynomial-1",
    title="A noisy cubic, by a polynomial of degree 1: it underfits",
    factory_args={"degree": 1},
    parameters=2,
)

POLYNOMIAL_20 = replace(
    POLYNOMIAL,
    name="polynomial-20",
    title="A noisy cubic, by a polynomial of degree 20: it overfits",
    factory="train.models.polynomial:LegendrePolynomial",
    factory_args={"degree": 20},
    parameters=21,
    std=(3.0,),  # nearly all of N(0, 1) lies within [-1, 1] then
)
