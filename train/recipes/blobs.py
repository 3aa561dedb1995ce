"""Four clouds of points, as the source notes tell them apart."""

from serve.bundle import Feature
from train.recipes.recipe import Recipe

BLOBS = Recipe(
    name="blobs",
    title="Four clouds of points, by three linear layers",
    task="classification",
    data="blobs",
    labels=("blob 0", "blob 1", "blob 2", "blob 3"),
    factory="train.models.mlp_tables:BlobsNet",
    factory_args={"features": 2, "hidden_units": 8, "classes": 4},
    parameters=132,
    features=(Feature(name="X1"), Feature(name="X2")),
    mean=(0.0, 0.0),
    std=(1.0, 1.0),
    learning_rate=0.1,
    batch_size=None,
    epochs=100,
    threads=1,
    notes_accuracy=0.995,
    notes_loss=0.02423,
    notes="003 S7; the figures are of epoch 91, the last one printed",
)
