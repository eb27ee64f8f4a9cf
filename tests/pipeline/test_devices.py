"""Two processes train what one does: equal curves, taken up by another number, and no process left behind."""

import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from models.training.fitting import UNHEARD, Course
from models.training.processes import Tell, together
from models.training.settings import ONE, Devices
from models.vision.finetuning import tuned_encoder
from models.vision.linear import fit_linear
from tests.training.test_recommenders_training import planted
from tests.training.test_vision_training import shaded, small_encoder, small_tuning
from tests.waiting import poll

TWO = Devices(count=2)
Made = Mapping[str, torch.Tensor] | None


def silent(text: Any) -> None:
    pass


def test_two_processes_train_the_towers_that_one_does() -> None:
    from models.recommenders.collaborative import Collaborative
    from models.recommenders.settings import TowerSettings
    from models.recommenders.training import train

    events, _ = planted()
    # The last batches have 15 rows: parts are of 7 and 8.
    settings = TowerSettings(
        dim=4,
        hidden=8,
        epochs=4,
        batch=16,
        rate=0.05,
        decay=0.1,
        dropout=0.3,
        windows=2,
        window_days=20.0,
        buyers=2,
        drop=0.3,
        most_events=10_000,
        most_users=1_000,
        most_items=1_000,
    )
    told: list[float] = []
    found = []
    for devices in (ONE, TWO, Devices(count=2, strategy="fsdp")):
        model, _, curves = train(
            *(Collaborative, events, None, True, settings, 5, 7),
            lambda done, what: told.append(done),
            devices,
        )
        found.append((curves["loss"], model.vectors_in, model.vectors_out, *model.weights.values()))
    for one, *others in zip(*found, strict=True):
        for two in others:
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    # Progress is told once, not by each process.
    assert told == told[: len(told) // 3] * 3


def test_a_table_of_items_that_is_spread_takes_half_the_room_on_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from models.recommenders import sequential_training
    from models.recommenders.settings import SequenceSettings

    held: list[torch.Tensor] = []

    class Weighed(sequential_training.Network):
        """Tells, as one of its weights, how many numbers a process kept."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.kept: torch.Tensor
            self.register_buffer("kept", torch.zeros(1))
            held.append(self.kept)

        def on_train_end(self) -> None:
            (optimizer,) = self.trainer.optimizers
            moments = [one for state in optimizer.state.values() for one in state.values()]
            kept = [*self.parameters(), *(one for one in moments if one.ndim)]
            self.kept.fill_(sum(one.numel() for one in kept))

    monkeypatch.setattr(sequential_training, "Network", Weighed)
    events, _ = planted()
    settings = SequenceSettings(
        dim=8,
        heads=2,
        blocks=1,
        length=10,
        dropout=0.3,
        rate=0.01,
        decay=0.05,
        sampled=20,
        places=256,
        budget=10**6,
        epochs=2,
    )
    spread = Devices(count=2, strategy="fsdp")
    one, two, parts = (
        sequential_training.train(events, settings, 3, devices=devices)
        for devices in (ONE, TWO, spread)
    )
    for other in (two, parts):
        np.testing.assert_allclose(other.vectors, one.vectors, atol=1e-5)
        np.testing.assert_allclose(other.bias, one.bias, atol=1e-5)
    whole, copied, half = (float(kept) for kept in held)
    assert copied == whole
    assert 0.5 * whole <= half < 0.51 * whole


def test_tuning_is_taken_up_on_another_number_of_devices(tmp_path: Path) -> None:
    pictures, truth = shaded(24)
    encoder = small_encoder()
    vectors = encoder.encode_arrays(pictures)[:, encoder.parts[-1]]
    probe, _ = fit_linear(vectors, truth, 2, np.zeros(24, np.int64), [1.0])
    # Weights that are drawn give a network that is steep: its rates must be small, or the order of sums tells.
    tuning = replace(small_tuning(1.0), rounds=4, dropout=0.2, rate=1e-5)

    class Killed(Exception):
        pass

    def tuned(course: Course) -> list[float]:
        curves: list[float] = []
        kept = replace(course, curve=lambda name, values: curves.extend(values))
        tuned_encoder(encoder, [probe], pictures, np.arange(24), truth[:, None], tuning, 5, kept)
        return curves

    def until_the_third(text: str) -> None:
        if text.startswith("epoch 3"):
            raise Killed

    whole = tuned(UNHEARD)
    kept = tmp_path / "kept"
    for first, second in ((ONE, TWO), (TWO, ONE)):
        with pytest.raises(Killed):
            tuned(Course(until_the_third, kept=kept, devices=first))
        assert kept.exists()
        told: list[str] = []
        again = tuned(Course(told.append, kept=kept, devices=second))
        assert told[0].startswith("epoch 3")
        np.testing.assert_allclose(again, whole, rtol=1e-4)
        assert not list(tmp_path.iterdir())


def test_what_the_processes_say_stays_on_this_machine() -> None:
    heard: list[list[str]] = []

    def work(rank: int, tell: Tell) -> Made:
        connections = psutil.Process().net_connections("tcp")
        # Where names lead elsewhere, this is what keeps it here.
        assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
        tell([one.laddr.ip for one in connections])
        return {"rank": torch.tensor([rank])} if rank == 0 else None

    made = together(2, "gloo", work, heard.append)
    assert made["rank"].tolist() == [0]
    addresses = {address for one in heard for address in one}
    assert addresses and addresses <= {"127.0.0.1", "::1"}


def test_a_process_that_fails_is_told_and_the_others_end() -> None:
    def fails(rank: int, tell: Tell) -> Made:
        if rank == 1:
            raise ValueError("no such item")
        torch.distributed.barrier()
        return None

    def full(rank: int, tell: Tell) -> Made:
        raise OSError(28, "No space left on device")

    def killed(rank: int, tell: Tell) -> Made:
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        torch.distributed.barrier()
        return None

    with pytest.raises(RuntimeError, match=r"process 2 of 2(.|\n)*no such item"):
        together(2, "gloo", fails, silent)
    with pytest.raises(OSError) as raised:
        together(2, "gloo", full, silent)
    assert raised.value.errno == 28
    with pytest.raises(ChildProcessError, match="process 2 of the 2 .* was killed"):
        together(2, "gloo", killed, silent)
    assert not multiprocessing.active_children()


def test_processes_end_with_the_one_that_is_killed() -> None:
    told, teller = multiprocessing.Pipe(duplex=False)

    def stage() -> None:
        def work(rank: int, tell: Tell) -> Made:
            tell(os.getpid())
            signal.pause()
            return None

        together(2, "gloo", work, teller.send)

    process = multiprocessing.get_context("fork").Process(target=stage)
    process.start()
    ids = [told.recv() for _ in range(2)]
    assert all(psutil.pid_exists(one) for one in ids)
    process.kill()
    process.join()

    def gone() -> bool:
        return not any(psutil.pid_exists(one) for one in ids)

    poll(gone, "the end of the processes", 30.0, pause=0.05)
