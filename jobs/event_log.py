"""What a worker tells of its attempt: `events.jsonl` on the head node, `events.node<i>.jsonl` on the others."""

import time
from typing import Any

from detector.records import Event, decode_lines, encode
from jobs.place import Place
from jobs.rundir import RunDir

RETRY = "retry: "


class EventLog:
    """The events of one node's attempt. `attempt` counts the starts of the run from 1."""

    def __init__(self, run: RunDir, place: Place) -> None:
        self.run = run
        self.place = place
        self.attempt = 1
        job = run.job()
        self._earlier = job.attempts_before if job else 0

    def begin(self) -> None:
        """On the head node: count the attempt."""
        self.attempt = 1 + sum(event.event == "start" for event in self._events())

    @property
    def requeues(self) -> int:
        """How often this submission was put back before, whoever did it."""
        return self.attempt - self._earlier - 1

    @property
    def retries(self) -> int:
        """How often this submission was put back after a failure."""
        return sum(
            event.event == "requeued" and (event.reason or "").startswith(RETRY) and event.attempt > self._earlier
            for event in self._events()
        )

    def staged_nodes(self) -> int:
        """Nodes that have their copy of the data in this attempt."""
        return sum(event.event == "staged" and event.attempt == self.attempt for event in self.run.all_events())

    def has_failed(self) -> bool:
        """Whether a node has failed in this attempt."""
        return any(event.event == "failed" and event.attempt == self.attempt for event in self.run.all_events())

    def record(self, name: str, **fields: Any) -> None:
        """Append an event."""
        event = Event(t=time.time(), event=name, attempt=self.attempt, host=self.place.host, **fields)
        path = self.run.events if self.place.is_head else self.run.path / f"events.node{self.place.node}.jsonl"
        with path.open("ab") as file:
            file.write(encode(event))

    def _events(self) -> list[Event]:
        return decode_lines(self.run.events.read_bytes(), Event) if self.run.events.exists() else []
