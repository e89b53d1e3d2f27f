"""The loop of a training, on the devices, processes and machines that Fabric brings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnnfast._errors import DivergedError, InputError
from cnnfast._extension import default_device, fast_dtype
from cnnfast._rooms import missing_package
from cnnfast.training.batches import TrainingBatches, training_loader
from cnnfast.training.files import TrainingFiles
from cnnfast.training.options import TrainingOptions
from cnnfast.training.step import Progress, Training
from cnnfast.training.task import Task

try:
    from lightning_fabric import Fabric
except ImportError as error:
    raise missing_package("training", "lightning-fabric") from error

logger = logging.getLogger(__name__)

# Steps in a row that may be left out.
_PATIENCE = 20


def fit(training: Training, task: Task, options: TrainingOptions, files: TrainingFiles) -> None:
    """Train from the present step to the last one. The network is on the CPU again in the end.

    A step whose loss or gradient is NaN or infinite changes nothing but the numbers of steps. After 20 of them in a row
    the training ends.

    Args:
        training: network, loss and optimiser.
        task: that this is the training of.
        options: devices, batches and precision.
        files: written on the way.

    Raises:
        InputError: more GPUs are asked for than this machine has.
        DivergedError: the loss was NaN or infinite too often in a row, or in every step.
        NotSavedError: the last network or checkpoint could not be written.
    """
    device = choose_device(options.device)
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and options.devices > gpus:
        raise InputError(f"{task.function}: expected devices of at most {gpus}, the GPUs here, got {options.devices}")
    if device.index is not None and options.devices > 1:
        raise InputError(f"{task.function}: expected device cuda for several devices, got {device}")
    one = device.type == "cuda" and options.devices == 1 and device.index is not None
    several = "ddp_find_unused_parameters_true" if task.find_unused else "ddp"
    with _quiet(), torch.enable_grad():
        fabric = Fabric(
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=[device.index] if one else options.devices,
            num_nodes=options.nodes,
            strategy=several if options.processes > 1 else "auto",
            precision="32-true",
        )
        try:
            fabric.launch()
            loop = _Loop(fabric, training, task, files, precision_for(options.amp, device))
            loop.run(_loader(training, task, options, fabric.global_rank))
        except BaseException:  # the other processes would wait for this one
            _kill_children(fabric)
            raise
        finally:
            files.close()
            training.cpu()  # whatever it was trained on


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device that is asked for; for "auto" or None a GPU that this installation has kernels for, else the CPU."""
    return default_device() if device in ("auto", None) else torch.device(device)


def precision_for(amp: str, device: torch.device) -> torch.dtype:
    """The dtype of mixed precision that one of `PRECISIONS` means, or torch.float32.

    Example:
        >>> import torch
        >>> from cnnfast.training.loop import precision_for
        >>> precision_for("bf16", torch.device("cpu"))
        torch.bfloat16
    """
    if amp == "auto":
        return fast_dtype(device)
    return torch.bfloat16 if amp in ("bf16", "bfloat16") else torch.float32


def _loader(training: Training, task: Task, options: TrainingOptions, rank: int) -> DataLoader[Any]:
    batches = TrainingBatches(
        len(task.examples),
        options.batch_size,
        training.steps,
        start=training.step,
        seed=options.seed,
        rank=rank,
        processes=options.processes,
    )
    return training_loader(task.examples, batches, task.collate, workers=options.workers, seed=options.seed)


class _Loop:
    """Steps of a training.

    Args:
        fabric: launched.
        training: network, loss and optimiser.
        task: that this is the training of.
        files: written after the steps.
        precision: torch.bfloat16 for mixed precision.
    """

    def __init__(
        self, fabric: Fabric, training: Training, task: Task, files: TrainingFiles, precision: torch.dtype
    ) -> None:
        self._fabric, self._training, self._function, self._files = fabric, training, task.function, files
        # For the whole step. Fabric's own mixed precision would round the batch, too, and cast the weights of a layer
        # once for all its uses in a step, so that their gradients were added up in bfloat16.
        self._autocast = torch.autocast(
            fabric.device.type, torch.bfloat16, enabled=precision == torch.bfloat16, cache_enabled=False
        )
        self._forward = fabric.setup_module(training)
        training.rank = fabric.global_rank
        training.begin()
        self._optimizer = training.restored_optimizer()
        self._named: set[str] = set()
        self._left_out = 0  # steps in a row
        self._asked_to_stop = False

    def run(self, batches: Iterable[Any]) -> None:
        """A step for each batch, until one process is asked to stop: all do so after the same step."""
        for batch in batches:
            self._name(batch.skipped)
            with self._autocast:
                progress, stop = self._step(self._fabric.to_device(batch))
            last = stop or progress.step >= progress.steps
            if last and progress.skipped_steps == progress.step:
                raise DivergedError(
                    f"{self._function}: expected a step with a finite loss and gradient, got none in {progress.step}; "
                    "nothing is written"
                )
            if self._fabric.is_global_zero and self._files.after_step(self._training, self._optimizer, progress, last):
                self._asked_to_stop = True
            if stop:
                return

    def _step(self, batch: Any) -> tuple[Progress, bool]:
        """Loss, gradient, and the optimiser's step where both are finite; whether a process was asked to stop."""
        training, optimizer = self._training, self._optimizer
        training.prepare(optimizer)
        buffers = [buffer.clone() for buffer in training.network.buffers()]
        terms = self._forward(batch)
        means, stop = self._means(terms)
        finite = all(bool(torch.isfinite(mean)) for mean in means.values())
        if finite:
            training.observe(means)
        optimizer.zero_grad()
        self._fabric.backward(training.loss(terms))
        finite = finite and _gradients_finite(training.network)
        if finite:
            optimizer.step()
        else:  # running statistics have seen what was not finite
            for buffer, before in zip(training.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
        training.counters += torch.tensor([1, not finite], device=training.device)
        return self._note(means, finite), stop

    def _means(self, terms: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
        """The terms' means over all processes, and whether one of these is asked to stop."""
        first = next(iter(terms.values())).detach()
        asked = first.new_tensor(float(self._asked_to_stop))
        means: Any = self._fabric.all_reduce(torch.stack([asked, *(term.detach() for term in terms.values())]))
        return dict(zip(terms, means[1:], strict=True)), bool(means[0] > 0)

    def _note(self, means: Mapping[str, Tensor], finite: bool) -> Progress:
        training = self._training
        terms = {name: float(mean) for name, mean in means.items()}
        step, skipped = training.counters.tolist()
        progress = Progress(step, training.steps, float(training.loss(means)), terms, skipped)
        self._left_out = 0 if finite else self._left_out + 1
        if not finite:
            logger.warning("step %d was left out: its loss or gradient is not finite", step)
        if self._left_out == _PATIENCE:
            raise DivergedError(
                f"{self._function}: expected finite losses and gradients, got none in {_PATIENCE} steps in a "
                f"row, the last one step {step}: {', '.join(f'{name} {value:.3g}' for name, value in terms.items())}"
            )
        return training.describe(progress)

    def _name(self, skipped: Iterable[str]) -> None:
        for line in skipped:
            if line not in self._named:
                self._named.add(line)
                logger.warning("skipped: %s", line)


def _gradients_finite(network: nn.Module) -> bool:
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return bool(torch.isfinite(nn.utils.get_total_norm(gradients)))


def _kill_children(fabric: Fabric) -> None:
    """Ends the processes that Fabric started on this machine, which would wait for this one."""
    processes = getattr(fabric.strategy.launcher, "procs", [])
    for process in processes:
        process.kill()
    processes.clear()  # Fabric watches this list, and would kill this process too


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Fabric's announcements and advice."""
    fabric = logging.getLogger("lightning_fabric")
    level = fabric.level
    fabric.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        fabric.setLevel(level)
