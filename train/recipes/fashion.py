"""The clothes of Fashion-MNIST by softmax regression, perceptrons and the two baselines of TinyVGG."""

from dataclasses import replace

from serve.bundle import ImagePreprocessing
from train.recipes.fashion_tinyvgg import FASHION_LABELS
from train.recipes.recipe import Recipe

IMAGE = {"channels": 1, "height": 28, "width": 28}

FASHION_SOFTMAX = Recipe(
    name="fashion-softmax",
    title="Clothes of Fashion-MNIST, 28x28, by softmax regression",
    task="classification",
    data="fashion-mnist",
    labels=FASHION_LABELS,
    factory="train.models.softmax:softmax_regression",
    factory_args={**IMAGE, "classes": 10},
    parameters=7_850,
    preprocessing=ImagePreprocessing(color="L", height=28, width=28, background=0),
    mean=(0.0,),
    std=(1.0,),
    initialisation="normal-0.01",
    optimizer="sgd",
    learning_rate=0.1,
    batch_size=256,
    epochs=10,
    threads=2,
    notes_accuracy=0.85,
    notes="000-002 S-SOFTMAX-CONCISE, about 85 %",
)

FASHION_SOFTMAX_SCRATCH = replace(
    FASHION_SOFTMAX,
    name="fashion-softmax-scratch",
    title="Clothes of Fashion-MNIST, 28x28, by softmax regression written by hand",
    factory="train.models.softmax:SoftmaxScratch",
    initialisation="default",  # the model draws its weights from N(0, 0.01) itself
    notes="000-002 S-SOFTMAX-SCRATCH, about 85 %",
)

FASHION_SOFTMAX_1000 = replace(
    FASHION_SOFTMAX,
    name="fashion-softmax-1000",
    title="Clothes of Fashion-MNIST, 28x28, by softmax regression, until it overfits",
    epochs=1000,
    notes_accuracy=None,
    notes="000-002 S-OVERFIT-1000: test accuracy settles below training accuracy",
)

FASHION_MLP = replace(
    FASHION_SOFTMAX,
    name="fashion-mlp",
    title="Clothes of Fashion-MNIST, 28x28, by a perceptron of one hidden layer",
    factory="train.models.mlp:mlp",
    factory_args={**IMAGE, "hidden_units": 256, "classes": 10},
    parameters=203_530,
    notes_accuracy=None,
    notes="000-002 S-MLP-CONCISE",
)

FASHION_DROPOUT_MLP = replace(
    FASHION_MLP,
    name="fashion-dropout-mlp",
    title="Clothes of Fashion-MNIST, 28x28, by a perceptron with dropout",
    factory="train.models.mlp:dropout_mlp",
    factory_args={**IMAGE, "hidden_units": 256, "classes": 10, "dropout_1": 0.2, "dropout_2": 0.5},
    parameters=269_322,
    notes="000-002 S-DROPOUT-MLP",
)

FASHION_V0 = replace(
    FASHION_SOFTMAX,
    name="fashion-v0",
    title="Clothes of Fashion-MNIST, 28x28, by two linear layers",
    factory="train.models.fashion_v0:FashionV0",
    factory_args={**IMAGE, "hidden_units": 10, "classes": 10},
    parameters=7_960,
    initialisation="default",
    batch_size=32,
    epochs=3,
    notes_accuracy=0.8343,
    notes_loss=0.4766,
    notes="003 S8",
)

FASHION_V1 = replace(
    FASHION_V0,
    name="fashion-v1",
    title="Clothes of Fashion-MNIST, 28x28, by two linear layers, ReLU after each",
    factory="train.models.fashion_v1:FashionV1",
    notes_accuracy=0.7502,
    notes_loss=0.6850,
    notes="003 S9",
)
