"""A task on which boundary-aware masks show what they are for, learnt in a minute: objects in boxes that miss them.

Pictures of one shape each (`synthetic_instances`), boxes whose IoU with the object's box is between 0.4 and 0.7 in
training. Compared are a binary mask in the box, an object mask network on the same features, and, as a control, a
binary mask whose features and cells come from the box grown to the window of the object mask network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from cnnfast.detection.data.synthetic import SyntheticInstances, perturb_boxes
from cnnfast.detection.metrics.masks import mask_iou
from cnnfast.models.instance_segmentation.toy_heads import BinaryMasks, MaskMethod, ObjectMasks

# Far from the seeds of training pictures.
_TEST_SEED = 10**12
_PICTURES_OF_A_SEED = 10**6
_CHUNK = 64


def toy_methods() -> tuple[MaskMethod, MaskMethod, MaskMethod]:
    """Binary mask in the box, object mask network, and the control: a binary mask in the network's larger window."""
    omn = ObjectMasks()
    return BinaryMasks(), omn, BinaryMasks("control: wider box", omn.halo)


@dataclass(frozen=True)
class ToySettings:
    """Sizes of the task.

    Attributes:
        steps: of training.
        batch: pictures in each.
        training: pictures to train on.
        testing: pictures to test on.
        learning_rate: of Adam at the start; it falls to 0 as a cosine.
        training_iou: least and largest IoU of a box with the object's own, in training.
        test_ious: likewise, for each test.
    """

    steps: int = 1000
    batch: int = 16
    training: int = 640
    testing: int = 256
    learning_rate: float = 5e-3
    training_iou: tuple[float, float] = (0.4, 0.7)
    test_ious: tuple[tuple[float, float], ...] = ((0.4, 0.55), (0.55, 0.7), (0.7, 0.9))


@dataclass(frozen=True)
class ToyPictures:
    """Pictures with one object each.

    Attributes:
        images: [n,3,H,W].
        masks: [n,H,W] bool.
        boxes: [n,4], tight.
    """

    images: Tensor
    masks: Tensor
    boxes: Tensor

    @classmethod
    def draw(cls, count: int, seed: int, device: torch.device | str = "cpu") -> ToyPictures:
        """So many pictures, from a seed on."""
        data = SyntheticInstances(count, seed)
        items = [data[index] for index in range(count)]
        images = torch.stack([image for image, _ in items])
        masks, boxes = (torch.cat([target[key] for _, target in items]) for key in ("masks", "boxes"))
        return cls(images.to(device), masks.bool().to(device), boxes.to(device))

    def __getitem__(self, index: Tensor | slice) -> ToyPictures:
        """Some of them."""
        return ToyPictures(self.images[index], self.masks[index], self.boxes[index])

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.images.shape[2], self.images.shape[3]


@dataclass(frozen=True)
class ToyScore:
    """How good masks are, against the whole objects.

    Attributes:
        iou: mean IoU.
        share: share of objects with an IoU of at least 0.7.
    """

    iou: float
    share: float


@dataclass(frozen=True)
class ToyResult:
    """A method on the test pictures.

    Attributes:
        method: its name.
        seed: of the run; None for the best that the method could do.
        scores: for each range of IoUs of the boxes.
    """

    method: str
    seed: int | None
    scores: list[ToyScore]


@dataclass
class ToyRun:
    """All of a seed.

    Attributes:
        seed: of networks, training pictures and boxes.
        results: of the methods.
        networks: theirs, trained.
    """

    seed: int
    results: list[ToyResult] = field(default_factory=list)
    networks: list[nn.Module] = field(default_factory=list)


def run_toy(
    seed: int = 0,
    methods: Sequence[MaskMethod] | None = None,
    settings: ToySettings | None = None,
    *,
    device: torch.device | str = "cpu",
    callback: Callable[[str, int, float], None] | None = None,
) -> ToyRun:
    """Train and test each method on the same pictures with the same boxes.

    Args:
        seed: of networks, training pictures and boxes. The test pictures are always the same.
        methods: to compare; None are those of `toy_methods`.
        settings: of the task; None are those of `ToySettings`.
        device: of the networks.
        callback: called after every step with the method's name, the steps that it has done, and the loss.

    Returns:
        Results and networks.

    Raises:
        ValueError: a seed that is negative or above 999999.

    Source: after the experiments of Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 4,
        on boxes that do not cover their object.

    Example:
        >>> from cnnfast.models.instance_segmentation.toy import ToySettings, run_toy
        >>> run = run_toy(0, settings=ToySettings(steps=2, training=16, testing=8))
        >>> [result.method for result in run.results][:2]
        ['binary mask in box', 'object mask network']
    """
    settings = settings or ToySettings()
    if not 0 <= seed < _TEST_SEED // _PICTURES_OF_A_SEED:
        raise ValueError(f"run_toy: expected a seed of 0..{_TEST_SEED // _PICTURES_OF_A_SEED - 1}, got {seed}")
    run = ToyRun(seed)
    with _one_thread():
        training = ToyPictures.draw(settings.training, seed * _PICTURES_OF_A_SEED, device)
        testing = evaluation_pictures(settings, device)
        for method in toy_methods() if methods is None else methods:
            network = train_method(method, training, seed, settings, callback)
            run.networks.append(network)
            scores = [score(method, testing, boxes, network) for boxes in evaluation_boxes(testing, settings)]
            run.results.append(ToyResult(method.name, seed, scores))
    return run


@contextmanager
def _one_thread() -> Iterator[None]:
    """The layers are so small that threads wait for one another longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_method(
    method: MaskMethod,
    pictures: ToyPictures,
    seed: int,
    settings: ToySettings,
    callback: Callable[[str, int, float], None] | None = None,
) -> nn.Module:
    """A network trained on pictures, with new boxes in every step, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = method.network().to(pictures.images.device)
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = CosineAnnealingLR(optimizer, settings.steps)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(1, settings.steps + 1):
        if len(order) < settings.batch:
            order = torch.cat([order, torch.randperm(len(pictures), generator=generator)])
        chosen, order = order[: settings.batch], order[settings.batch :]
        batch = pictures[chosen.to(pictures.images.device)]
        boxes = perturb_boxes(batch.boxes, batch.size, settings.training_iou, generator)
        loss = method.loss(network(batch.images, boxes), batch.masks, boxes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if callback is not None:
            callback(method.name, step, loss.item())
    return network.eval()


def evaluation_pictures(settings: ToySettings, device: torch.device | str = "cpu") -> ToyPictures:
    """The same ones for every seed."""
    return ToyPictures.draw(settings.testing, _TEST_SEED, device)


def evaluation_boxes(pictures: ToyPictures, settings: ToySettings) -> list[Tensor]:
    """The same boxes [n,4] for every method and seed, for each range of IoUs."""
    generator = torch.Generator().manual_seed(0)
    return [perturb_boxes(pictures.boxes, pictures.size, iou, generator) for iou in settings.test_ious]


def best_results(methods: Sequence[MaskMethod] | None = None, settings: ToySettings | None = None) -> list[ToyResult]:
    """What each method reaches with an output without fault."""
    settings = settings or ToySettings()
    pictures = evaluation_pictures(settings)
    boxes = evaluation_boxes(pictures, settings)
    return [
        ToyResult(method.name, None, [score(method, pictures, part) for part in boxes])
        for method in (toy_methods() if methods is None else methods)
    ]


@torch.no_grad()
def predict(method: MaskMethod, pictures: ToyPictures, boxes: Tensor, network: nn.Module | None = None) -> Tensor:
    """Masks [n,H,W] bool by a network, or (None) from an output without fault."""
    masks = []
    for start in range(0, len(pictures), _CHUNK):
        part, own = pictures[start : start + _CHUNK], boxes[start : start + _CHUNK]
        if network is None:
            windows = method.ideal_windows(part.masks, own)
        else:
            windows = method.windows(network(part.images, own))
        masks.append(method.paste(windows, own, part.size))
    return torch.cat(masks)


def score(method: MaskMethod, pictures: ToyPictures, boxes: Tensor, network: nn.Module | None = None) -> ToyScore:
    """Of `predict`, against the whole objects."""
    ious = mask_iou(predict(method, pictures, boxes, network), pictures.masks).diagonal()
    return ToyScore(float(ious.mean()), float((ious >= 0.7).double().mean()))
