"""Pieces of work, done here one after another, or by the workers of a Dask cluster.

Dask (``dask[distributed]``, the extra ``cluster``) starts the workers, moves the pieces of one that died to another,
and reaches beyond one machine. Its messages are pickled, so a scheduler is only as safe as its network: a local
cluster listens on the loopback alone, and ``SECURITY.md`` says what a shared one needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

from scancontrol.errors import InvalidInput

__all__ = ["Crew", "add_crew_options", "crew", "tell"]

Piece = TypeVar("Piece")
Outcome = TypeVar("Outcome")

_TOPIC = "scancontrol"
_LOOK_EVERY_S = 0.5
_DEATHS = 10
"""Of workers, with one piece in hand, until that piece is given up: a piece that kills its worker would kill all."""


def add_crew_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers`` and ``--scheduler``, of which :func:`crew` is made."""
    parser.add_argument("--workers", type=int, metavar="N", help="share the work among N processes of this machine")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="share it among the workers of this Dask scheduler, tcp://HOST:8786"
    )


class Crew(Protocol):
    """Whoever does the pieces."""

    def do(
        self,
        work: Callable[[Piece], Outcome],
        pieces: Sequence[Piece],
        hear: Callable[[Any], None] = ...,
        stop: Callable[[], bool] = ...,
    ) -> Iterator[tuple[int, Outcome | Exception]]:
        """Each piece's index and what ``work`` returned or raised, as they end.

        Args:
            work: a function of a module; it may be done twice for a piece whose worker died, so it goes on or begins
                anew where it finds its own traces.
            pieces: values that can be pickled.
            hear: called with what ``work`` says by :func:`tell`, from a thread of its own.
            stop: whether to begin no further piece, asked between pieces; those at work elsewhere are given up.
        """
        ...  # pragma: no cover


_heard_here: list[Callable[[Any], None]] = []


def tell(fact: Any) -> None:
    """Say ``fact`` (of plain values) to whoever hears the work that this process does."""
    if _heard_here:
        _heard_here[-1](fact)
        return
    from distributed import get_worker

    get_worker().log_event(_TOPIC, fact)


class _Alone:
    """This process, one piece after another."""

    def do(
        self,
        work: Callable[[Piece], Outcome],
        pieces: Sequence[Piece],
        hear: Callable[[Any], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[int, Outcome | Exception]]:
        for index, piece in enumerate(pieces):
            if stop():
                return
            _heard_here.append(hear)
            try:
                outcome: Outcome | Exception = work(piece)
            except Exception as error:
                outcome = error
            finally:
                _heard_here.pop()
            yield index, outcome


class _Cluster:
    """The workers of a scheduler."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def do(
        self,
        work: Callable[[Piece], Outcome],
        pieces: Sequence[Piece],
        hear: Callable[[Any], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[int, Outcome | Exception]]:
        from distributed import wait

        self._client.subscribe_topic(_TOPIC, lambda event: hear(event[1]))
        # Not pure: equal pieces are as many pieces, and what a piece writes to the disk is not to be had from a cache.
        futures = self._client.map(work, list(pieces), pure=False)
        index = {future.key: number for number, future in enumerate(futures)}
        try:
            left = set(futures)
            while left and not stop():
                with suppress(TimeoutError):
                    wait(left, timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED")
                for future in [future for future in left if future.done()]:
                    left.remove(future)
                    error = future.exception()
                    yield index[future.key], future.result() if error is None else error
        finally:
            self._client.cancel(futures)
            self._client.unsubscribe_topic(_TOPIC)


@contextmanager
def crew(workers: int | None = None, scheduler: str | None = None) -> Iterator[Crew]:
    """This process alone, ``workers`` processes of this machine, or the workers of the Dask scheduler at an address.

    Raises:
        InvalidInput: both are given, there are no such workers, or Dask is not installed.
    """
    if workers is None and scheduler is None:
        yield _Alone()
        return
    if workers is not None and scheduler is not None:
        raise InvalidInput("scheduler", scheduler, f"has workers of its own, and {workers} were asked for", "give one")
    if workers is not None and workers < 1:
        raise InvalidInput("workers", workers, "is below 1", "leave it out to work in this process")
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        asked = "--workers" if scheduler is None else "--scheduler"
        raise InvalidInput(asked, workers or scheduler, "needs Dask", "pip install 'scancontrol[cluster]'") from None
    with dask.config.set({"distributed.scheduler.allowed-failures": _DEATHS}):
        if scheduler is None:
            with (
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",  # None would still bind its usual port, which another run may have
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=50,
                    security=True,  # keys made for this run: nobody else on this machine can hand it work
                ) as cluster,
                Client(cluster) as client,
            ):
                yield _Cluster(client)
            return
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise InvalidInput("scheduler", scheduler, f"does not answer ({error})", "start one there") from error
        with client:
            if not client.scheduler_info(n_workers=-1)["workers"]:
                raise InvalidInput("scheduler", scheduler, "has no worker", "start dask worker beside it")
            yield _Cluster(client)
