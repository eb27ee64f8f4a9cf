"""Fitting of the answers model's scorer with Lightning, and of how sure it must be."""

from collections.abc import Callable, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from models.encoders.reranker import Progress
from models.language.answers import Answers, Found, Scorer, Shelf
from models.language.marked import Asked, gained
from models.language.settings import ScorerSettings
from models.language.sureness_training import fit_sureness
from models.training.fitting import fit


class Fitting(pl.LightningModule):
    """Cross-entropy over a question's candidates and "no answer"; several candidates may be right."""

    def __init__(self, scorer: Scorer, settings: ScorerSettings) -> None:
        super().__init__()
        self.scorer, self.settings = scorer, settings

    def training_step(self, batch: tuple[torch.Tensor, ...], at: int) -> torch.Tensor:
        features, present, right = batch
        logits = self.scorer(features, present)
        chosen = logits.masked_fill(~right, -torch.inf)
        loss = (logits.logsumexp(1) - chosen.logsumexp(1)).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(features))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.scorer.parameters(), self.settings.rate, weight_decay=self.settings.decay
        )


def right_candidates(found: Found, shelves: Sequence[Shelf], asked: Sequence[Asked]) -> np.ndarray:
    """(q, k + 1) booleans: candidates that share at least half of the shorter of both with a marked answer.

    The last is true where no answer is marked. A question whose answer is not among its candidates has none.
    """
    right = np.zeros((len(asked), found.rows.shape[1] + 1), dtype=bool)
    for at, (shelf, one) in enumerate(zip(shelves, asked, strict=True)):
        right[at, -1] = not one.spans
        for place in np.flatnonzero(found.rows[at] >= 0):
            row = found.rows[at, place]
            begin, stop = int(shelf.starts[row]), int(shelf.ends[row])
            right[at, place] = any(
                2 * (min(stop, end) - max(begin, start)) >= min(stop - begin, end - start)
                for start, end in one.spans.get(shelf.reviews[shelf.owner[row]].review_id, ())
            )
    return right


def fit_answers(
    model: Answers,
    asked: Sequence[Asked],
    settings: ScorerSettings,
    f1: Callable[[str, str], float],
    seed: int,
    progress: Progress = lambda done, what: None,
) -> list[float]:
    """Fit the scorer of `model` in place on `asked`; its losses by epoch.

    How sure it must be to answer, and how true its chances are, is learned by cross-fitting. f1: how good an answer is
    for a marked one, 0 to 1.
    """
    questions = [one.question for one in asked]
    shelves = [model.shelf(one.item) for one in asked]
    found = model.find(questions, shelves, progress)
    right = right_candidates(found, shelves, asked)
    logits = cross_fitted(found, right, settings, seed)
    model.scorer, losses = fit_scorer(found, right, settings, seed)
    model.scorer.margin.fill_(best_margin(logits, right))
    replies = model.replies(questions, shelves, found, logits)
    said = [reply.quotes[0].text if reply.quotes else "" for reply in replies]
    model.sureness = fit_sureness(
        np.asarray([reply.confidence for reply in replies]),
        np.asarray([bool(text) for text in said]),
        np.asarray(gained(said, asked, model.library, f1)),
    )
    return losses


def fit_scorer(
    found: Found,
    right: np.ndarray,
    settings: ScorerSettings,
    seed: int,
    report: Callable[[float, str], None] = lambda done, what: None,
) -> tuple[Scorer, list[float]]:
    """The scorer fitted on the questions that have a right choice, and its losses by epoch."""
    known = right.any(1)
    features = torch.from_numpy(found.features[known])
    present = torch.from_numpy(found.present[known])
    scorer = Scorer()
    torch.nn.init.zeros_(scorer.weigh.weight)
    if present.any():
        scorer.mean.copy_(features[present].mean(0))
        scorer.scale.copy_(features[present].std(0, correction=0).clamp(min=1e-3))
    data = TensorDataset(features, present, torch.from_numpy(right[known]))
    if not len(data):
        return scorer, []
    curves = fit(
        Fitting(scorer, settings),
        DataLoader(data, batch_size=len(data)),
        epochs=settings.epochs,
        seed=seed,
        report=report,
    )
    return scorer, curves["train_loss"]


def cross_fitted(
    found: Found, right: np.ndarray, settings: ScorerSettings, seed: int
) -> np.ndarray:
    """Logits (q, k + 1) of each question by a scorer that was fitted without its fold."""
    logits = np.zeros(right.shape)
    order = np.random.default_rng(seed).permutation(len(right))
    for fold in range(settings.folds):
        held = order[fold :: settings.folds]
        rest = np.setdiff1d(order, held)
        part = Found(found.rows[rest], found.features[rest])
        scorer, _ = fit_scorer(part, right[rest], settings, seed)
        given = torch.from_numpy(found.features[held]), torch.from_numpy(found.present[held])
        with torch.inference_mode():
            logits[held] = scorer(*given).double().numpy()
    return logits


def best_margin(logits: np.ndarray, right: np.ndarray) -> float:
    """The margin above "no answer", nearest to 0, with which most questions come out right.

    logits, right: (q, k + 1). Tried are the values halfway between the leads that the questions have.
    """
    best = logits[:, :-1].max(1, initial=-np.inf)
    lead = np.where(np.isfinite(best), best - logits[:, -1], -np.inf)
    hit = right[np.arange(len(right)), logits[:, :-1].argmax(1)]
    known = np.sort(lead[np.isfinite(lead)])
    tried = np.concatenate([[0.0], (known[1:] + known[:-1]) / 2])
    answered = lead[None, :] > tried[:, None]
    gained = np.where(answered, hit[None, :], right[:, -1][None, :]).mean(1)
    order = np.lexsort((np.abs(tried), -gained))
    return float(tried[order[0]])
