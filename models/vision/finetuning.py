"""Fine-tuning of a picture encoder end to end, for one field of labels or several.

The classifier begins as the linear probe of the frozen features, so that the first steps do not spoil them; lower
layers learn at lower rates, the lowest not at all; the weights are a moving average over the steps.
Sources: Kumar et al. (2022), Fine-tuning can distort pretrained features; Howard and Ruder (2018), Universal language
model fine-tuning (discriminative rates); Polyak and Juditsky (1992) (averaging).
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from models.encoders.image import ImageEncoder, backbone, fold_norms, foldable
from models.training.fitting import UNHEARD, Course, fit, spoken
from models.training.parts import Parted
from models.vision.augmenting import Changes, Window, augment
from models.vision.linear import Linear
from models.vision.settings import TuningSettings

WARM_UP = 0.15
"""Share of the steps in which the rates rise."""
LEAST_STEPS = 24


class Tuned(Parted):
    """The network, one linear classifier a field on its pooled output, and the moving average of both."""

    def __init__(
        self,
        network: nn.Module,
        probes: list[Linear],
        pictures: np.ndarray,
        mean: list[float],
        std: list[float],
        tuning: TuningSettings,
        seed: int,
    ) -> None:
        super().__init__()
        self.network, self.pictures, self.tuning = network, pictures, tuning
        self.heads = nn.ModuleList(linear_layer(probe) for probe in probes)
        # A field of which a batch has no label moves nothing.
        self.spare = len(probes) > 1
        self.drop = nn.Dropout(tuning.dropout)
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.draw = torch.Generator().manual_seed(seed)
        self.averaged: dict[str, torch.Tensor] = {}
        self.parts = parts_of(network)
        for part in self.parts[: tuning.frozen]:
            part.requires_grad_(False)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(b, 3, s, s) in -1 to 1 to one (b, classes) a field."""
        seen = ((pictures + 1) / 2 - self.mean) / self.std
        pooled = self.drop(self.network(seen.contiguous(memory_format=torch.channels_last)))
        return [head(pooled) for head in self.heads]

    def train(self, mode: bool = True) -> "Tuned":
        super().train(mode)
        for part in self.parts[: self.tuning.frozen]:
            part.eval()
        return self

    def training_step(self, batch: list[torch.Tensor], at: int) -> torch.Tensor:
        rows, labels = batch
        mine = self.part.rows(len(rows))
        done = self.global_step / max(int(self.trainer.estimated_stepping_batches), 1)
        side = self.tuning.side(self.pictures.shape[1], done)
        changes = Changes.draw(len(rows), self.draw)
        seen = self.changed(rows, changes, mine, side)
        own, share, window = labels[mine], 1.0, None
        if float(torch.rand(1, generator=self.draw)) < self.tuning.mixing:
            window = Window.draw(len(rows), side, self.draw)
            partners = window.other[mine]
            whole = self.part.of == 1
            others = seen[partners] if whole else self.changed(rows, changes, partners, side)
            seen, share = window.pasted(seen, others), window.share
        with self.part.as_one(len(rows)):
            logits = self(seen)
        loss = share * self.cost(logits, own, labels)
        if window is not None:
            loss = loss + (1 - share) * self.cost(logits, labels[window.other[mine]], labels)
        self.tell("train_loss", loss, len(rows))
        return loss

    def changed(
        self, rows: torch.Tensor, changes: Changes, which: slice | torch.Tensor, side: int
    ) -> torch.Tensor:
        """The pictures of these of the batch's rows, as the batch's changes make them."""
        found = torch.from_numpy(self.pictures[rows[which].cpu().numpy()]).to(self.device)
        found = found.permute(0, 3, 1, 2).float().div(127.5).sub(1)
        return augment(found, self.tuning.smallest, changes.of(which), side)

    def cost(
        self, logits: list[torch.Tensor], labels: torch.Tensor, whole: torch.Tensor
    ) -> torch.Tensor:
        """Mean over the fields of the smoothed cross-entropy of labels (b, fields) that are known.

        whole: the labels of the whole batch, of which `labels` are a part.
        """
        total = logits[0].sum() * 0.0
        for at, found in enumerate(logits):
            known, count = labels[:, at] >= 0, int((whole[:, at] >= 0).sum())
            if known.any():
                field = partial(_cost, found[known], labels[known, at], self.tuning.smoothing)
                total = total + self.part.mean(field, len(whole), count)
        return total / len(logits)

    def on_train_batch_end(self, outputs: object, batch: object, at: int) -> None:
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        reach = max(self.tuning.average * steps, 1.0)
        # Early steps count little: the average never reaches back beyond a tenth of what was done.
        keep = min(1 - 1 / reach, 1 - 1 / max(0.1 * (self.global_step + 1), 1.0))
        for name, value in self.state_dict().items():
            if not value.is_floating_point():
                continue
            if name not in self.averaged:
                self.averaged[name] = value.clone()
            else:
                self.averaged[name].lerp_(value, 1 - keep)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["averaged"] = self.averaged
        checkpoint["draw"] = self.draw.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.averaged = checkpoint["averaged"]
        self.draw.set_state(checkpoint["draw"])

    def on_train_end(self) -> None:
        self.load_state_dict(self.averaged, strict=False)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        tuning = self.tuning
        groups = []
        depth = len(self.parts)
        for at, part in enumerate(self.parts):
            rate = tuning.rate * tuning.layer_decay ** (depth - 1 - at)
            groups += decayed(part, rate, tuning.decay)
        groups += decayed(self.heads, tuning.rate, tuning.decay)
        rates = [group["lr"] for group in groups]
        optimizer = torch.optim.AdamW(groups)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            rates,
            total_steps=max(int(self.trainer.estimated_stepping_batches), LEAST_STEPS),
            pct_start=WARM_UP,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _cost(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float, reduced: str
) -> torch.Tensor:
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction=reduced)


def decayed(part: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """Groups of parameters for an optimizer: matrices with weight decay, the others without."""
    learned = [one for one in part.parameters() if one.requires_grad]
    matrices = [one for one in learned if one.ndim > 1]
    others = [one for one in learned if one.ndim <= 1]
    return [
        {"params": chosen, "lr": rate, "weight_decay": wanted}
        for chosen, wanted in ((matrices, decay), (others, 0.0))
        if chosen
    ]


def linear_layer(probe: Linear) -> nn.Linear:
    """The layer that gives a linear classifier's logits, its standardisation within the weights."""
    weights = probe.weights * probe.scale[:, None]
    bias = probe.bias - probe.mean @ weights
    layer = nn.Linear(*weights.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy((weights / probe.temperature).T.copy()))
        layer.bias.copy_(torch.from_numpy(np.asarray(bias / probe.temperature, np.float32)))
    return layer


def parts_of(network: nn.Module) -> list[nn.Module]:
    """A network's parts from the bottom: what comes before its blocks, each block, what comes after them."""
    blocks = next(
        (
            getattr(network, name)
            for name in ("blocks", "stages", "layers")
            if hasattr(network, name)
        ),
        None,
    )
    if blocks is None:
        return [network]
    names = [name for name, _ in network.named_children()]
    at = next(place for place, name in enumerate(names) if getattr(network, name) is blocks)
    before = nn.ModuleList(getattr(network, name) for name in names[:at])
    after = nn.ModuleList(getattr(network, name) for name in names[at + 1 :])
    return [before, *blocks, after]


def tuned_encoder(
    encoder: ImageEncoder,
    probes: list[Linear],
    pictures: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    tuning: TuningSettings,
    seed: int,
    course: Course = UNHEARD,
) -> tuple[ImageEncoder, list[Linear]]:
    """The encoder with weights learned from pictures (n, size, size, 3) uint8 at `rows`, and its classifiers.

    labels (n, fields): -1 where not known. probes: a linear classifier a field over the encoder's pooled output.
    The classifiers that come back are over the pooled output of the encoder that comes back; their temperature is 1.
    """
    config = encoder.config
    network = backbone(config["name"], config["size"], None)
    given = {
        name: value.astype(np.float32) if value.dtype.kind == "f" else value
        for name, value in encoder.weights.items()
    }
    network.load_state_dict({name: torch.from_numpy(value) for name, value in given.items()})
    learned = {one for part in parts_of(network)[tuning.frozen :] for one in part.modules()}
    if foldable(config["name"]):
        fold_norms(network, learned)
    network = network.requires_grad_(True).to(memory_format=torch.channels_last)
    torch.manual_seed(seed)
    module = Tuned(network, probes, pictures, config["mean"], config["std"], tuning, seed)
    module.train()
    data = TensorDataset(torch.from_numpy(rows), torch.from_numpy(labels[rows]))
    order = torch.Generator().manual_seed(seed)
    batch = min(tuning.batch, len(rows))
    loader = DataLoader(data, batch, shuffle=True, generator=order, drop_last=True)
    epochs = tuning.epochs(encoder.size, len(rows))
    curves = fit(
        module,
        loader,
        epochs=epochs,
        seed=seed,
        report=spoken(course.say),
        clip=5.0,
        kept=course.kept,
        devices=course.devices,
    )
    course.curves(curves, "tuned")
    places = {name for name, one in module.network.named_modules() if one in learned}
    taught = {
        name: value.numpy()
        for name, value in module.network.state_dict().items()
        if name.rpartition(".")[0] in places
    }
    found = ImageEncoder.timm(
        config["name"], given | taught, config["size"], config["mean"], config["std"]
    )
    heads = [
        Linear(
            np.zeros(head.in_features, np.float32),
            np.ones(head.in_features, np.float32),
            np.zeros(0, np.int64),
            head.weight.numpy().T.copy(),
            head.bias.numpy().copy(),
            np.ones(1, np.float32),
        )
        for head in module.heads
        if isinstance(head, nn.Linear)
    ]
    return found, heads
