"""Fitting of the reader of titles by the likelihood of marked titles."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.utils.data import DataLoader, TensorDataset

from models.language.extraction import (
    Extraction,
    Gazetteer,
    Inputs,
    States,
    Tagger,
    Title,
    features,
    log_partition,
    make_inputs,
    weight_of,
    words,
)
from models.language.settings import TaggerSettings
from models.training.fitting import fit as fit_module

Values = Mapping[str, Sequence[str]]


def marked(title: Title, values: Values) -> list[tuple[str, int, int]]:
    """Field, first word and the word after the last of each value that stands in the title; none overlaps another.

    Longer values come first; a value takes the first place that is free and begins and ends at words.
    """
    spans = words(title.text)
    begins = {a: at for at, (a, _) in enumerate(spans)}
    ends = {b: at + 1 for at, (_, b) in enumerate(spans)}
    wanted = [
        (name, value.strip()) for name, found in values.items() for value in found if value.strip()
    ]
    taken = np.zeros(len(spans), bool)
    marks = []
    for name, value in sorted(wanted, key=lambda pair: (-len(pair[1]), pair)):
        start = title.text.find(value)
        while start >= 0:
            begin, end = begins.get(start), ends.get(start + len(value))
            if begin is not None and end is not None and not taken[begin:end].any():
                taken[begin:end] = True
                marks.append((name, begin, end))
                break
            start = title.text.find(value, start + 1)
    return sorted(marks, key=lambda mark: mark[1])


def frequent(
    titles: Sequence[Title], gazetteer: Gazetteer, own: Sequence[Mapping[tuple[str, ...], str]]
) -> np.ndarray:
    """Buckets of the features that come twice or more, ascending."""
    found = [
        one
        for title, mine in zip(titles, own, strict=True)
        for bag in features(title, gazetteer, mine)
        for one in bag
    ]
    values, counts = np.unique(np.array(found, np.int64), return_counts=True)
    return values[counts >= 2]


class Fitting(pl.LightningModule):
    """Minimises the negative log likelihood of the marked labels."""

    def __init__(
        self, tagger: Tagger, inputs: Inputs, labels: np.ndarray, settings: TaggerSettings
    ) -> None:
        super().__init__()
        self.tagger, self.settings = tagger, settings
        self.arrays = [torch.from_numpy(x) for x in (inputs.bags, inputs.states, inputs.asked)]
        self.lengths, self.labels = torch.from_numpy(inputs.lengths), torch.from_numpy(labels)

    def training_step(self, batch: list[torch.Tensor], at: int) -> torch.Tensor:
        rows = batch[0]
        longest = int(self.lengths[rows].max())
        bags, states, asked = (array[rows] for array in self.arrays)
        mask = torch.arange(longest)[None] < self.lengths[rows][:, None]
        scores = self.tagger.emit(bags[:, :longest], states[:, :longest], mask, asked)
        follow, first = self.tagger.transitions()
        labels = self.labels[rows][:, :longest]
        surprise = log_partition(scores, mask, follow, first)
        surprise = surprise - weight_of(scores, labels, mask, follow, first)
        loss = surprise.sum() / mask.sum()
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(rows))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        settings = self.settings
        # Most weights are those of rare features: a step in one pass takes a tenth of the time.
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=settings.rate, weight_decay=settings.decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            settings.rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=0.15,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _of_voice(
    report: Callable[[float, str], None], voice: int, voices: int
) -> Callable[[float, str], None]:
    """Tell how far one voice is, as a part of all."""
    return lambda done, what: report((voice + done) / voices, f"voice {voice + 1}, {what}")


def fit(
    titles: Sequence[Title],
    values: Sequence[Values],
    states: States,
    settings: TaggerSettings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
) -> Extraction:
    """The reader that marked titles teach. values: of each title, field to the values as written."""
    pairs = [(t, v) for t, v in zip(titles, values, strict=True) if words(t.text)]
    titles = [title for title, _ in pairs]
    fields = sorted({name for title, found in pairs for name in (*title.fields, *found)})
    place = {name: at for at, name in enumerate(fields)}
    known: dict[str, set[str]] = {}
    for title, found in pairs:
        known.setdefault(title.category, set()).update(title.fields, found)
    listed = {category: sorted(names) for category, names in sorted(known.items())}
    marks = [marked(title, found) for title, found in pairs]
    parts = [
        [
            (tuple(title.text[a:b].lower() for a, b in words(title.text)[begin:end]), name)
            for name, begin, end in marks[row]
        ]
        for row, title in enumerate(titles)
    ]
    gazetteer = Gazetteer.of([pair for row in parts for pair in row])
    own = [dict(row) for row in parts]
    kept = frequent(titles, gazetteer, own)
    inputs = make_inputs(titles, fields, listed, gazetteer, kept, states, own)
    labels = np.zeros(inputs.bags.shape[:2], np.int64)
    for row, spans in enumerate(marks):
        for name, begin, end in spans:
            labels[row, begin] = 2 * place[name] + 1
            labels[row, begin + 1 : end] = 2 * place[name] + 2
    taggers = []
    for voice in range(settings.voices):
        torch.manual_seed(seed + voice)
        module = Fitting(
            Tagger(len(kept), len(fields), states.width, settings.hidden, settings.dropout),
            inputs,
            labels,
            settings,
        )
        order = torch.Generator().manual_seed(seed + voice)
        loader = DataLoader(
            TensorDataset(torch.arange(len(titles))),
            settings.batch,
            shuffle=True,
            generator=order,
        )
        fit_module(
            module,
            loader,
            epochs=settings.epochs,
            seed=seed + voice,
            report=_of_voice(report, voice, settings.voices),
            clip=5.0,
        )
        taggers.append(module.tagger.eval())
    return Extraction(fields, listed, gazetteer, kept, tuple(taggers), states, settings.least)
