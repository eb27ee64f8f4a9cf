"""A batch that several processes work on is one batch: rows, sums and what is drawn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from models.training.parts import Part, _AsOne

COUNTS = st.integers(1, 40)
PROCESSES = st.integers(1, 7)


@given(COUNTS, PROCESSES)
def test_every_row_is_taken_once_and_by_almost_equal_parts(count: int, of: int) -> None:
    parts = [Part(rank, of) for rank in range(of)]
    busy = [part for part in parts if part.share(count)]
    rows = [list(range(count))[part.rows(count)] for part in busy]
    assert sum(rows, []) == list(range(count))
    sizes = {len(one) for one in rows}
    assert max(sizes) - min(sizes) <= 1
    # What has no row works on one all the same, and it counts nothing.
    assert all(part.rows(count) == slice(0, 1) for part in parts if part not in busy)
    assert len(busy) == min(count, of)


@given(COUNTS, PROCESSES, st.integers(0, 2**31))
def test_the_mean_over_parts_is_the_mean_of_the_batch(count: int, of: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=count))
    known = torch.from_numpy(rng.random(count) < 0.7)
    means = []
    for rank in range(of):
        part = Part(rank, of)
        mine = part.rows(count)
        chosen = values[mine][known[mine]]
        terms = int(known.sum())

        def loss(how: str, chosen: torch.Tensor = chosen) -> torch.Tensor:
            return chosen.mean() if how == "mean" and len(chosen) else chosen.sum()

        means.append(float(part.mean(loss, count, terms)))
    expected = float(values[known].mean()) if known.any() else 0.0
    assert np.mean(means) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(2, 4), st.integers(0, 2**31))
def test_parts_drop_what_one_process_drops(count: int, of: int, seed: int) -> None:
    values = torch.ones(count, 3, 2)
    query, key, value = torch.randn(3, count, 2, 4, 3).unbind()
    mask = torch.zeros(1, 2, 4, 4)

    def dropped(rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(seed)
        first = nn.Dropout(0.4)(values[rows])
        return first, functional.scaled_dot_product_attention(
            query[rows], key[rows], value[rows], attn_mask=mask, dropout_p=0.4
        )

    whole = dropped(slice(0, count))
    after = torch.get_rng_state()
    for rank in range(of):
        part = Part(rank, of)
        rows = part.rows(count)
        with part.as_one(count):
            mine = dropped(rows)
        assert torch.equal(torch.get_rng_state(), after)
        torch.testing.assert_close(mine, tuple(one[rows] for one in whole))


def test_a_norm_of_one_process_is_that_of_pytorch() -> None:
    given_, weight = torch.randn(6, 3, 4, 4) + 5.0, torch.randn(6, 3, 4, 4)
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    found = []
    try:
        for mode in (None, _AsOne(Part(), 6)):
            norm, batch = nn.BatchNorm2d(3), given_.clone().requires_grad_()
            if mode is None:
                seen = norm(batch)
            else:
                with mode:
                    seen = norm(batch)
            (seen * weight).sum().backward()
            state = norm.state_dict()
            found.append(
                (seen, batch.grad, norm.weight.grad, state["running_mean"], state["running_var"])
            )
    finally:
        torch.distributed.destroy_process_group()
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
