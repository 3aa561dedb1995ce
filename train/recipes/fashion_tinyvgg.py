"""TinyVGG on Fashion-MNIST, as the source notes train it."""

from serve.bundle import ImagePreprocessing
from train.recipes.recipe import Recipe

FASHION_LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FASHION_TINYVGG = Recipe(
    name="fashion-tinyvgg",
    title="Clothes of Fashion-MNIST, 28x28, by TinyVGG",
    task="classification",
    data="fashion-mnist",
    labels=FASHION_LABELS,
    factory="train.models.tinyvgg:TinyVGG",
    factory_args={"channels": 1, "height": 28, "width": 28, "hidden_units": 10, "classes": 10},
    parameters=7_740,
    preprocessing=ImagePreprocessing(color="L", height=28, width=28, background=0),
    mean=(0.0,),
    std=(1.0,),
    optimizer="sgd",
    learning_rate=0.1,
    batch_size=32,
    threads=2,
    epochs=3,
    seed=42,
    notes_accuracy=0.8838,
    notes_loss=0.3286,
    notes="003 S10",
)
