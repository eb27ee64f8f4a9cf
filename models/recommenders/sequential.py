"""A sequential recommender: self-attention over the order of a user's items, at inference.

Sources: Kang and McAuley (2018), Self-attentive sequential recommendation (SASRec); Press et al. (2022), Train short, test
long: attention with linear biases (here one learnt number for each distance instead of positions, so that the same items
mean the same wherever they stand).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.recommenders.base import ENTRIES, Recommender, products
from models.recommenders.events import Histories

BATCH = 256
"""Users at a time."""


class Block(nn.Module):
    """Causal self-attention and a network for each place, both around a residual."""

    def __init__(self, dim: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attend, self.gather = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.think = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim)
        )
        # The newest weigh most to begin with.
        fall = torch.arange(length, dtype=torch.float32) * 0.1
        self.distance = nn.Parameter(-fall.repeat(heads, 1))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(B, L, d) to the same shape."""
        users, length, dim = states.shape
        parts = self.attend(self.before(states)).view(users, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        place = torch.arange(length, device=states.device)
        apart = place[:, None] - place[None, :]
        bias = self.distance[:, apart.clamp(min=0)].masked_fill(apart < 0, -torch.inf)
        drop = self.dropout if self.training else 0.0
        found = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias[None], dropout_p=drop
        )
        found = self.gather(found.transpose(1, 2).reshape(users, length, dim))
        states = states + functional.dropout(found, self.dropout, self.training)
        thought = self.think(self.between(states))
        return states + functional.dropout(thought, self.dropout, self.training)


class Attention(nn.Module):
    """States (B, L, d) of places in sequences of item vectors (B, L, d)."""

    def __init__(self, dim: int, heads: int, blocks: int, length: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, length, dropout) for _ in range(blocks))
        self.last = nn.LayerNorm(dim)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            states = block(states)
        return self.last(states)


@dataclass(frozen=True)
class Sequential(Recommender):
    """vectors: (items, d) of the items, in and out. bias: (items,), very low where an item was not learnt.

    weights: of `Attention`; shape: its dim, heads, blocks and length.
    """

    kind: ClassVar[str] = "sequential"
    items: list[str]
    vectors: np.ndarray
    bias: np.ndarray
    weights: Mapping[str, np.ndarray]
    shape: tuple[int, int, int, int]

    def user_vectors(self, histories: Histories) -> np.ndarray:
        """The state after each user's last item, (users, d) float32; zeros without a history."""
        network = Attention(*self.shape, dropout=0.0).eval()
        network.load_state_dict({name: torch.from_numpy(v) for name, v in self.weights.items()})
        places, lengths = sequences(histories, self.shape[3])
        found = np.zeros((len(histories), self.shape[0]), dtype=np.float32)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                some = order[start : start + BATCH]
                width = int(lengths[some].max())
                states = network(torch.from_numpy(self.vectors[places[some, :width]])).numpy()
                found[some] = states[np.arange(len(some)), lengths[some] - 1]
        return found

    def scores(self, histories: Histories) -> np.ndarray:
        return self.user_vectors(histories) @ self.vectors.T + self.bias

    def falls(self, histories: Histories, left: np.ndarray, items: np.ndarray) -> np.ndarray:
        owner = histories.owner_of(left)
        lost = np.zeros((len(left), self.shape[0]), dtype=np.float32)
        # What is further back than the network looks says nothing.
        order = np.lexsort((-histories.place, histories.owner))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = histories.indptr[1:][histories.owner] - 1 - np.arange(len(order))
        seen = np.flatnonzero(rank[left] < self.shape[3])
        if len(seen):
            step = max(1, ENTRIES // int(np.diff(histories.indptr).max()))
            whole = self.user_vectors(histories)
            for some in np.split(seen, range(step, len(seen), step)):
                rest = self.user_vectors(histories.without_each(left[some]))
                lost[some] = whole[owner[some]] - rest
        return products(owner, lost, items, self.vectors)


def sequences(histories: Histories, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The last `length` items of each user, oldest first, (users, length) padded with 0 behind; and how many they are."""
    owner = histories.owner
    order = np.lexsort((-histories.place, owner))
    sizes = np.diff(histories.indptr)
    kept = np.minimum(sizes, length)
    at = np.arange(len(order)) - histories.indptr[owner] - (sizes - kept)[owner]
    inside = at >= 0
    found = np.zeros((len(histories), length), dtype=np.int64)
    found[owner[inside], at[inside]] = histories.item[order][inside]
    return found, kept
