"""One run: a plan is played to a shop that suffers faults, staff put right what is left, and the judge looks."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import Redis, Server
from tests.torture import journal
from tests.torture.crew import Broker, delivering
from tests.torture.faults import DEATH, Fault, Faults, File, Served, Victim
from tests.torture.judge import DOUBLED, LOST, WRONG, Evidence, Finding, judge
from tests.torture.lives import CLIENT_IP, Plan, plan
from tests.torture.records import Records
from tests.torture.sender import BROKEN, HUNG_UP, TIMED_OUT, Sender
from tests.torture.shop import create_tables
from tests.torture.site import Site, serving

#: Seconds that a statement of the shop waits for SQLite's write lock.
BUSY = 2
#: Seconds between two looks at what is still to be delivered.
LOOK = 0.2


@dataclass(frozen=True)
class Size:
    """How much a run plays, and what it suffers: how many kills, and how long the database is away each time.

    ``lease`` and ``deadline`` in seconds: how long a worker may call one receiver, and the whole run may take;
    ``slow``: the share of calls that outlive their lease.
    """

    notices: int
    payments: int
    kills: Mapping[str, int]
    away: Mapping[str, tuple[float, ...]]
    lease: float
    slow: float
    deadline: float = 600.0


#: Some outages are longer than a call may wait for its answer: only then is there a 500.
FULL = Size(
    notices=5000,
    payments=1000,
    kills={"kill": 6, "kill in delivery": 12, DEATH: 4},
    away={
        "restart": (0.0, 1.0, 4.0),
        "cut": (0.0,) * 4,
        "freeze": (2.0, 24.0),
        "lock": (0.5, 1.0, 3.0, 6.0, 24.0),
        "broker restart": (0.0, 1.0, 4.0, 8.0),
        "broker freeze": (1.0, 8.0),
    },
    lease=4.0,
    slow=0.001,
)
SHORT = Size(
    notices=240,
    payments=60,
    kills={"kill": 1, "kill in delivery": 2, DEATH: 1},
    away={
        "restart": (0.5,),
        "cut": (0.0,),
        "freeze": (),
        "lock": (0.5, 3.0),
        "broker restart": (0.0, 1.0),
        "broker freeze": (),
    },
    lease=2.0,
    slow=0.003,
    deadline=180.0,
)


@dataclass(frozen=True)
class Place:
    """A database that is there for one run."""

    uri: str
    victim: Victim
    options: Mapping[str, Any]
    wal: bool = False


def file_place(folder: Path, seed: int) -> Place:
    """An SQLite file; every other seed has it write ahead."""
    path = folder / "shop.db"
    options = {"connect_args": {"timeout": BUSY}}
    return Place(f"sqlite:///{path}", File(path), options, wal=seed % 2 == 0)


@contextmanager
def served_place(server: Server, seed: int) -> Iterator[Place]:
    """A database of a server, until the block ends; every other seed has the shop use repeatable read."""
    uri = server.create()
    level = "REPEATABLE READ" if seed % 2 else "READ COMMITTED"
    try:
        yield Place(uri, Served(server, uri), {"isolation_level": level})
    finally:
        server.drop(uri)


@dataclass(frozen=True)
class Report:
    """What a run did, in figures, and what was found."""

    figures: Mapping[str, float]
    findings: tuple[Finding, ...]


def run(place: Place, seed: int, size: Size, folder: Path, redis: Redis | None = None) -> Report:
    """Play one run; its logs, journal and evidence stay in ``folder``. With ``redis``, Celery delivers."""
    began = time.monotonic()
    stop = threading.Event()
    alarm = threading.Timer(size.deadline, stop.set)
    alarm.start()
    try:
        played = Played(place, seed, size, folder, stop, redis)
        played.play()
        if stop.is_set():
            played.trouble.append(Finding(WRONG, f"the run had not ended after {size.deadline:.0f} s"))
    finally:
        alarm.cancel()
        stop.set()
    return played.report(time.monotonic() - began)


@dataclass
class Played:
    """A run while it is played."""

    place: Place
    seed: int
    size: Size
    folder: Path
    stop: threading.Event
    #: The broker, where two machines take notices and two others deliver.
    redis: Redis | None = None
    plan: Plan = field(init=False)
    tally: Counter[str] = field(default_factory=Counter)
    trouble: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = plan(self.seed, self.size.notices, self.size.payments)
        self.journal = self.folder / "journal"
        self.journal.touch()
        create_tables(self.place.uri)
        self.records = Records(self.place.uri)
        self.records.open(self.plan.charges)

    def play(self) -> None:
        with ExitStack() as stack:
            sites = [
                stack.enter_context(serving(self.folder, self._settings()))
                for _ in range(1 if self.redis is None else 2)
            ]
            self.sender = Sender([site.port for site in sites], self.stop)
            self.faults = self._faults(sites, stack)
            try:
                self.sender.send_all(self.plan.calls, self.faults.reached)
            finally:
                self.faults.settle()
            self._resend()
            self._settle(sites[0])

    def _faults(self, sites: list[Site], stack: ExitStack) -> Faults:
        crew = stack.enter_context(delivering(self.folder, sites[0].environment)) if self.redis else ()
        return Faults(
            self._planned(),
            sites,
            self.place.victim,
            self.journal,
            self.stop,
            self._dice("kills"),
            deliverers=crew,
            broker=Broker(self.redis) if self.redis else None,
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "flask": {
                "SQLALCHEMY_DATABASE_URI": self.place.uri,
                "SQLALCHEMY_ENGINE_OPTIONS": dict(self.place.options),
                "ZEUS_CVS_CLIENT_IP": CLIENT_IP,
                "ZEUS_CVS_ENDPOINT": "http://127.0.0.1:9/",
                "ZEUS_CVS_DELIVERY_ATTEMPTS": 4,
                "ZEUS_CVS_DELIVERY": "background" if self.redis is None else "deferred",
            },
            "journal": str(self.journal),
            "seed": self.seed,
            "lease": self.size.lease,
            "first_retry": 0.2,
            "poll": 0.3,
            "slow": self.size.slow,
            "wal": self.place.wal,
            "broker": "" if self.redis is None else self.redis.url,
        }

    def _dice(self, purpose: str) -> random.Random:
        return random.Random(f"{purpose} {self.seed}")

    def _planned(self) -> list[Fault]:
        """Spread the faults over the time in which notices flow."""
        dice, last = self._dice("faults"), len(self.plan.calls) * 9 // 10
        kinds = self.place.victim.kinds if self.redis is None else (*self.place.victim.kinds, *Broker.kinds)
        kills = {kind: times for kind, times in self.size.kills.items() if self.redis or kind != DEATH}
        planned = [(kind, 0.0) for kind, times in kills.items() for _ in range(times)]
        planned += [(kind, each) for kind in kinds for each in self.size.away[kind]]
        return [Fault(dice.randrange(last // 10, last), kind, seconds) for kind, seconds in planned]

    def _resend(self) -> None:
        """Do as staff do once the database is back: send again, on the gateway's screen, what was not stored."""
        spelled = {call.message.number: call for call in self.plan.calls}
        while not self.stop.is_set() and (owing := self.sender.unanswered(self.plan.messages)):
            self.tally["resent by staff"] += len(owing)
            self.sender.resend(owing, spelled)

    def _settle(self, site: Site) -> None:
        """Wait for what the shop does by itself; then have cron sweep once, and staff look at what it has given up."""
        self._until_nothing_is_due()
        self._staff(site, "expire")
        while not self.stop.is_set() and self.records.unfinished():
            self._put_right(site)
            self._until_nothing_is_due()

    def _until_nothing_is_due(self) -> None:
        while not self.stop.is_set() and self.records.due():
            self.stop.wait(LOOK)

    def _put_right(self, site: Site) -> None:
        """Dismiss what is in effect although its receiver failed, and have the rest tried again."""
        parked = self.records.parked()
        words = [
            word
            for number, in_effect in parked
            for word in ("--dismiss" if in_effect else "--retry", str(number))
        ]
        self.tally["dismissed"] += words.count("--dismiss")
        if words:
            self._staff(site, "deliver", *words)

    def _staff(self, site: Site, *command: str) -> None:
        done = site.staff(*command)
        wrong = any(line.startswith(("Error:", "Traceback", "Usage:")) for line in done.stderr.splitlines())
        if wrong or done.returncode not in (0, 1):
            text = f"{command[0]} ended with {done.returncode}: {done.stderr[-1000:]}"
            self.trouble.append(Finding(WRONG, text))

    def evidence(self) -> Evidence:
        records = self.records
        return Evidence(
            charges=self.plan.charges,
            messages=self.plan.messages,
            sent=self.sender.sent,
            outages=self.faults.outages,
            kills=self.faults.kills,
            kept=records.kept(),
            held=records.held(),
            asked=records.asked(),
            events=records.events(),
            owed=records.owed(),
            counts=records.counts(),
            entries=journal.read(self.journal),
        )

    def report(self, seconds: float) -> Report:
        evidence = self.evidence()
        self.trouble += [Finding(WRONG, f"a fault failed: {each}") for each in self.faults.broken]
        findings = (*judge(evidence), *self.trouble)
        if findings:
            self._keep(evidence, findings)
        self.tally += Counter(outage.kind for outage in self.faults.broker_outages)
        return Report(figures(evidence, findings, self.tally, seconds), findings)

    def _keep(self, evidence: Evidence, findings: tuple[Finding, ...]) -> None:
        """Write down what the judge saw, for whoever looks into it."""
        text = "\n".join(f"{each.kind}: {each.text}" for each in findings)
        (self.folder / "findings.txt").write_text(text, "utf-8")
        (self.folder / "evidence.json").write_text(
            json.dumps(asdict(evidence), default=_plain, indent=1), "utf-8"
        )


def _plain(value: object) -> object:
    return sorted((asdict(each) for each in value), key=str) if isinstance(value, frozenset) else str(value)


def figures(
    evidence: Evidence, findings: tuple[Finding, ...], tally: Mapping[str, int], seconds: float
) -> dict[str, float]:
    """Sum a run up."""
    answers = Counter(sent.outcome for sent in evidence.sent)
    calls = [entry for entry in evidence.entries if entry.what == "begin"]
    faults = Counter(outage.kind for outage in evidence.outages)
    kinds = Counter(finding.kind for finding in findings)
    return {
        "notices sent": len(evidence.sent),
        "of them distinct": len(evidence.messages),
        "answered 200": answers["200"],
        "answered 5xx": sum(times for answer, times in answers.items() if answer.startswith("5")),
        "timed out": answers[TIMED_OUT],
        "broken off": answers[BROKEN],
        "hung up on": answers[HUNG_UP],
        "resent by staff": tally["resent by staff"],
        "kept": len(evidence.kept),
        "repeats absorbed": sum(row.times - 1 for row in evidence.kept),
        "reviews": len(evidence.asked),
        "events": len(evidence.events),
        "deliveries": len(evidence.owed),
        "calls of receivers": len(calls),
        "retries": len(calls) - len({(call.event, call.subscriber) for call in calls}),
        "failed calls": sum(entry.what == "failed" for entry in evidence.entries),
        "parked": sum(entry.what == "parked" for entry in evidence.entries),
        "dismissed": tally["dismissed"],
        "workers killed": len(evidence.kills),
        **{f"database {kind}": faults[kind] for kind in ("restart", "cut", "freeze", "lock")},
        **{kind: tally[kind] for kind in Broker.kinds if tally[kind]},
        "seconds away": round(sum(outage.ended - outage.began for outage in evidence.outages), 1),
        "seconds": round(seconds, 1),
        "lost": kinds[LOST],
        "doubled": kinds[DOUBLED],
        "otherwise wrong": kinds[WRONG],
    }
