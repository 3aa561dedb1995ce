"""What the notes get wrong, and what is right here; numbers in braces are computed, not typed in."""

from train.reproduction.mistake import Mistake

MISTAKES = (
    Mistake(
        source="003 L1263",
        said="`arange(1, 19)` becomes 2x3x3x3",
        right="that takes {tutorial_count:.0f} numbers, not {tutorial_given:.0f}: `arange(1, 55)`",
    ),
    Mistake(
        source="003 L1350, L1412",
        said="`a = a + 1` shows that NumPy and torch share memory",
        right="it makes a new array; `a += 1` would show it",
    ),
    Mistake(
        source="003 L2305, L8460, L9641, L10546",
        said="`x_test`, `random_misclassified`, `title`, `F` are used",
        right="nothing of that name exists there",
    ),
    Mistake(
        source="003 L2465",
        said="descent by hand has losses 3.167, 2.109, 1.761, 1.429, 1.123",
        right="{descent_loss@0:.4f}, {descent_loss@1:.4f}, {descent_loss@2:.4f}, {descent_loss@3:.4f}, "
        "{descent_loss@4:.4f}; 1.5 x 3 - 0.5 is {descent_third:g}, and the gradient has the factor 2",
    ),
    Mistake(
        source="003 L2120, L2460",
        said="MAE is called a squared error; the example beside it takes MSE",
        right="the code takes the mean absolute error, `l1` here",
    ),
    Mistake(
        source="003 L3438",
        said="`torch.load` without `weights_only`",
        right="weights are read with `weights_only=True` only",
    ),
    Mistake(
        source="003 L3543",
        said="`load_boston`",
        right="scikit-learn removed it in 1.2",
    ),
    Mistake(
        source="003 L3905",
        said="the class of the first circle network is what is trained",
        right="a Sequential takes its name before training; `circles-v0` is that one",
    ),
    Mistake(
        source="003 L3982",
        said="`BCELossWithLogits`",
        right="`BCEWithLogitsLoss`",
    ),
    Mistake(
        source="003 L4182",
        said="predictions are compared with predictions, and match",
        right="they have to be compared with the labels",
    ),
    Mistake(
        source="003 L5043, L8117",
        said="an activation after the last layer helps; ReLU itself or capacity is blamed for 75 %",
        right="`fashion-v1` loses eight points to `fashion-v0` with its last ReLU: logits below 0 get no gradient",
    ),
    Mistake(
        source="003 L5122, L5189",
        said="boundaries of train and test, side by side",
        right="they are of two networks",
    ),
    Mistake(
        source="003 L5139-5151",
        said="learning rate 0.001",
        right="it is a fourth round at 0.1: epoch 0 {train_loss@3000:.5f}, epoch 900 {train_loss@3900:.5f}, as "
        "printed; at 0.001 the loss goes from {slow_first_loss:.5f} to {slow_last_loss:.5f} only",
    ),
    Mistake(
        source="003 L5169",
        said="predictions of the test split are compared with `y[:10]`",
        right="that is the first ten of all rows; with the test split's own, nine of ten are right",
    ),
    Mistake(
        source="003 L6131",
        said="torchmetrics 0.9.3 with `task=`",
        right="that argument came with 0.11",
    ),
    Mistake(
        source="003 L6348-6350",
        said="outputs of the network are called probabilities",
        right="they are logits; a bundle's graph gives both, by name",
    ),
    Mistake(
        source="003 L6209",
        said="saving and loading the best model is announced",
        right="it never comes; every run here is one",
    ),
    Mistake(
        source="003 L6610",
        said="label 6 is a sandal",
        right="a shirt; sandals are 5",
    ),
    Mistake(
        source="003 L6877, L10440, L11014",
        said="accuracy is a mean of batches: 0.2604, 0.1979",
        right="always pizza is {pizza_by_batch:.4f} over batches and {pizza_by_rows:.4f} over photos, always "
        "steak {steak_by_batch:.4f} and {steak_by_rows:.4f}, always sushi {sushi_by_batch:.4f} and "
        "{sushi_by_rows:.4f}: the networks have learnt nothing",
    ),
    Mistake(
        source="003 L7231",
        said="a step of training without `model.train()`",
        right="harmless until there is dropout; it is called every epoch here",
    ),
    Mistake(
        source="003 L7438",
        said="`75.02%` as a number",
        right="75.02",
    ),
    Mistake(
        source="003 L7701",
        said="a convolution refuses an image without a batch",
        right="it takes one, and gives "
        "{squeezed_image_shape@0:.0f}x{squeezed_image_shape@1:.0f}x{squeezed_image_shape@2:.0f}; a "
        "server has to check the rank itself",
    ),
    Mistake(
        source="003 L8763",
        said="a stray file counts as an image",
        right="it is named and refused",
    ),
    Mistake(
        source="003 L9036",
        said="test images are flipped at random",
        right="only training images are varied",
    ),
    Mistake(
        source="003 L9312, L9479",
        said="files come in the order of `glob`",
        right="they are sorted, as ImageFolder sorts them",
    ),
    Mistake(
        source="003 L9617",
        said="`if seed:`",
        right="seed 0 is a seed",
    ),
    Mistake(
        source="003 L9786",
        said="TrivialAugment does several things to an image",
        right="one, chosen at random",
    ),
    Mistake(
        source="003 L10474",
        said="augmentation that normalises and does not resize",
        right="both belong to inference as well",
    ),
    Mistake(
        source="003 L10535",
        said="a wider network for 64x64 photos",
        right="its first linear layer takes {improved_printed:.0f} numbers, and 64x64 gives "
        "{improved_inputs:.0f}; `food-improved-tinyvgg` takes those",
    ),
    Mistake(
        source="000 L1443",
        said="workers do not inherit the default device, hence the error of the generator",
        right="it comes from the sampler in the main process, and without workers just as well; no default "
        "device is set here",
    ),
    Mistake(
        source="000 L1516",
        said="the device is taken from `net.parameters()`",
        right="a plain function has none; the device is an argument",
    ),
    Mistake(
        source="000 L915",
        said="“PyTorch is using the GPU”",
        right="`is_available()` only says that it could",
    ),
    Mistake(
        source="001 L282-298",
        said="five rows of house_tiny",
        right="the file has four",
    ),
    Mistake(
        source="001 L304",
        said="`fillna(inputs.mean())`",
        right="fails on the column of words; `numeric_only=True`",
    ),
    Mistake(
        source="001 L1048, L1790, L401, L1412",
        said="`data.c`, a missing bracket, `np.arange` for `torch.mv`, rate 0.1 as before",
        right="`TensorDataset`, `)`, `torch.arange`, 0.03 before",
    ),
    Mistake(
        source="001 L1719",
        said="test accuracy decides between models",
        right="then it is validation accuracy, as the notes say themselves",
    ),
    Mistake(
        source="001 L1987",
        said="constant weights as a plain attribute",
        right="they are not saved, and come back as others; a buffer is",
    ),
    Mistake(
        source="001 L2346",
        said="a layer that takes off the mean of the whole batch",
        right="a row's answer depends on its neighbours: the same two rows come out {centred_shift:g} apart "
        "alone and among four",
    ),
    Mistake(
        source="001 L2390",
        said="`weight.data` in `forward`",
        right="the layer cannot learn",
    ),
    Mistake(
        source="002 L92",
        said="a step divides by the nominal batch size",
        right="by the rows of this very batch, or the short last one steps too little",
    ),
    Mistake(
        source="002 L308",
        said="Huber's loss with sigma",
        right="the formula is the smooth L1 loss, Huber's divided by sigma",
    ),
    Mistake(
        source="002 L400",
        said="Huber is slower and more stable",
        right="at the same step size it is as fast, and without outliers as stable: `train study huber`",
    ),
    Mistake(
        source="002 L438",
        said="the sum or product of probabilities",
        right="the product, or the sum of logarithms",
    ),
    Mistake(
        source="002 L720",
        said="`if num_workers:`",
        right="0 workers become 4 without a word",
    ),
    Mistake(
        source="002 L805-897",
        said="pinned memory and workers that persist gain nothing: the hardware is too new",
        right="one epoch without a copy to a GPU cannot show either: `train study dataloader`",
    ),
    Mistake(
        source="002 L1036-1122",
        said="offline images are two orders of magnitude faster",
        right="{mixed_speedup:.0f} times mixes batch 1 with batch 64; like for like it is {like_speedup:.1f} "
        "times, from one cell that was measured once",
    ),
)
