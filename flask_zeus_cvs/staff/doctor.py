"""Examines a shop's set-up: settings, database, clock, callback, notices, subscribers, and the work at hand.

Each examination is a small function that says what is wrong; `EXAMINATIONS` lists them with what is said if nothing
is. Nothing here changes anything, and nothing shown names a customer, a token or one of ZEUS's addresses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from ipaddress import ip_network
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.memos import recall
from flask_zeus_cvs.models import Application, Notification, Payment, Review
from flask_zeus_cvs.payments import DELIVERED, SWEPT, Payments
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.protocol.wire import decode_form
from flask_zeus_cvs.settings import ENDPOINT, DeliveryMode, Network, Settings, is_loopback
from flask_zeus_cvs.signals import SIGNALS
from flask_zeus_cvs.staff import outside, soundness
from flask_zeus_cvs.staff.findings import Finding, Severity, fine, found
from flask_zeus_cvs.staff.health import LATE, backlog

T = TypeVar("T")

#: Characters that a token, and a secret key, should have at least.
LONG_TOKEN, LONG_KEY = 16, 16
#: Client IP codes of our own examples, and of others'.
DEMO_CLIENT_IPS = frozenset({"1234567890", "0123456789", *(digit * 10 for digit in "0123456789")})
#: Addresses that a notice from ZEUS cannot have: the machine's own, private ones, a provider's NAT.
PRIVATE = tuple(
    ip_network(each)
    for each in (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
        "::1/128", "fc00::/7", "fe80::/10",
    )
)  # fmt: skip
#: Addresses that are nobody's: those of the documentation.
EXAMPLES = tuple(
    ip_network(each) for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
#: A network with more addresses than this is not two senders.
WIDE = 256
#: Seconds after which gunicorn, left at its default, ends a worker.
WORKER_SECONDS = 30
#: Notices whose parameters are looked at, and among which an 03 is looked for.
RECENT, MANY = 200, 5_000
#: The share of the recent notices in which a parameter must be faulty to be spoken of.
OFTEN = 0.2
SWEEP_EVERY, DELIVER_EVERY = timedelta(hours=6), timedelta(minutes=15)
#: How long a review, and an application of unknown outcome, may wait for a person.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Patient:
    """The shop that is examined."""

    app: Flask
    payments: Payments
    #: The root of the shop as others reach it; blank: its callback is not asked.
    url: str = ""
    #: Every text of the customers' pages, to compare ZEUS_CVS_TEXTS with.
    texts: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def settings(self) -> Settings:
        return self.payments.settings

    @property
    def production(self) -> bool:
        return not (self.app.debug or self.app.testing)


@dataclass(frozen=True)
class Examination:
    """One function that says what is wrong, and what is said under ``code`` if nothing is."""

    code: str
    fine: str
    look: Callable[[Patient], Iterable[Finding]]
    #: Findings after which it cannot be made.
    unless: frozenset[str] = frozenset()


def examine(patient: Patient, examinations: Iterable[Examination] | None = None) -> list[Finding]:
    """Run every examination; those that read payments only if the database has what they need."""
    findings: list[Finding] = []
    for each in EXAMINATIONS if examinations is None else examinations:
        if any(one.code in each.unless for one in findings):
            continue
        seen = list(each.look(patient))
        if each.fine and all(one.severity is Severity.FINE for one in seen):
            seen.insert(0, fine(each.code, each.fine))
        findings += seen
    return findings


_NO_DATABASE = frozenset({"database.refused", "database.away"})
_NO_TABLES = _NO_DATABASE | {"database.tables_missing", "database.columns_missing"}

# --- settings ------------------------------------------------------------------------------------


def mode(patient: Patient) -> Iterator[Finding]:
    if not patient.production:
        what = "DEBUG" if patient.app.debug else "TESTING"
        yield found("settings.not_production", f"The app runs with {what}.")


def callback_ips(patient: Patient) -> Iterator[Finding]:
    networks = patient.settings.callback_ips
    if not networks:
        yield found("settings.callback_ips_unset", "ZEUS_CVS_CALLBACK_IPS is not set.")
    if patient.production:
        yield from _within(
            networks, PRIVATE, "settings.callback_ips_private", "private, or the machine's own"
        )
        yield from _within(
            networks, EXAMPLES, "settings.callback_ips_example", "an example of the documentation's"
        )
    if any(each.num_addresses > WIDE for each in networks):
        most = max(each.num_addresses for each in networks)
        yield found(
            "settings.callback_ips_wide", f"A network of ZEUS_CVS_CALLBACK_IPS has {most:,} addresses."
        )


def _within(networks: Iterable[Network], known: Iterable[Network], code: str, what: str) -> Iterator[Finding]:
    """Speak of the places in the list, not of the addresses: some of them are confidential."""
    places = [
        str(place)
        for place, each in enumerate(networks, 1)
        if any(each.version == one.version and each.overlaps(one) for one in known)
    ]
    if places:
        yield found(code, f"Item {', '.join(places)} of ZEUS_CVS_CALLBACK_IPS is {what}.")


def callback_token(patient: Patient) -> Iterator[Finding]:
    tokens = patient.settings.callback_token
    if not tokens:
        yield found("settings.callback_token_missing", "ZEUS_CVS_CALLBACK_TOKEN is not set.")
    elif min(map(len, tokens)) < LONG_TOKEN:
        shortest = min(map(len, tokens))
        yield found(
            "settings.callback_token_short", f"A token of ZEUS_CVS_CALLBACK_TOKEN has {shortest} characters."
        )


def tests(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    if patient.production and settings.test:
        yield found("settings.test_mode", "ZEUS_CVS_TEST_ID and ZEUS_CVS_TEST_TYPE are set.")
    if patient.production and settings.test_fulfills:
        severity = Severity.ERROR if settings.test else None
        yield found("settings.test_fulfills", "ZEUS_CVS_TEST_FULFILLS is on.", severity=severity)


def demonstration(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    if not patient.production:
        return
    if settings.client_ip in DEMO_CLIENT_IPS:
        yield found("settings.demo_client_ip", "ZEUS_CVS_CLIENT_IP is that of an example.")
    if is_loopback(_host_of(settings.endpoint)):
        yield found("settings.endpoint_loopback", "ZEUS_CVS_ENDPOINT is on this machine.")
    elif settings.endpoint != ENDPOINT:
        yield found("settings.endpoint_other", f"ZEUS_CVS_ENDPOINT is on {_host_of(settings.endpoint)}.")
    if settings.transport is not None:
        yield found("settings.transport", "ZEUS_CVS_TRANSPORT is set.")


def _host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def pages(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    if patient.production and not settings.require_https:
        yield found("settings.https_not_required", "ZEUS_CVS_REQUIRE_HTTPS is off.")
    if patient.texts:
        unknown = {each for texts in settings.texts.values() for each in texts} - patient.texts
        for each in sorted(unknown):
            shown = each if len(each) <= 30 else each[:30] + "…"
            yield found(
                "settings.texts_unknown", f"ZEUS_CVS_TEXTS replaces a text that we do not have: {shown}"
            )


def asking(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    if settings.pay_within_days is not None:
        days = settings.pay_within_days
        yield found("settings.pay_within_days", f"ZEUS_CVS_PAY_WITHIN_DAYS is {days}.")
    if settings.gateway_seconds >= WORKER_SECONDS:
        yield found("settings.timeouts_long", f"ZEUS may take {settings.gateway_seconds} seconds to answer.")


def delivery(patient: Patient) -> Iterator[Finding]:
    if patient.production and patient.settings.delivery is DeliveryMode.INLINE:
        yield found("settings.delivery_inline", "ZEUS_CVS_DELIVERY is inline.")


def secrets(patient: Patient) -> Iterator[Finding]:
    key = patient.app.secret_key
    if not key:
        yield found("settings.secret_key_missing", "SECRET_KEY is not set.")
    elif patient.production and len(key) < LONG_KEY:
        yield found("settings.secret_key_short", f"SECRET_KEY has {len(key)} characters.")
    config = patient.app.config
    if patient.production and not config["SESSION_COOKIE_SECURE"]:
        yield found(
            "settings.cookie_insecure", "SESSION_COOKIE_SECURE is off: the session goes over http, too."
        )
    if patient.production and not config["SESSION_COOKIE_HTTPONLY"]:
        yield found(
            "settings.cookie_insecure", "SESSION_COOKIE_HTTPONLY is off: scripts can read the session."
        )


# --- database, clock, callback -------------------------------------------------------------------


def database(patient: Patient) -> Iterator[Finding]:
    yield from soundness.reachable(patient.payments.database)


def tables(patient: Patient) -> Iterator[Finding]:
    yield from _connected(patient, soundness.tables)


def keeping(patient: Patient) -> Iterator[Finding]:
    yield from _connected(patient, soundness.keeping)


def clocks(patient: Patient) -> Iterator[Finding]:
    yield from _connected(patient, soundness.clock)


def zone(patient: Patient) -> Iterator[Finding]:  # noqa: ARG001
    yield from soundness.zone()


def _connected(patient: Patient, look: soundness.Examination) -> list[Finding]:
    """Ask on a connection as the shop itself has it."""
    with patient.app.app_context(), patient.payments.database.db.engine.connect() as connection:
        return list(look(connection))


def callback(patient: Patient) -> Iterator[Finding]:
    if not patient.url:
        yield found("callback.not_asked", "The callback was not asked.")
        return
    url = outside.callback_url(patient.settings, patient.url)
    yield from outside.examine(url, patient.settings, patient.app.secret_key, patient.production)


# --- notices -------------------------------------------------------------------------------------


def parameters(patient: Patient) -> Iterator[Finding]:
    rows = _read(patient, _recent_notices)
    if not rows:
        yield found("notices.none", "No notice has come yet.")
        return
    encoding = patient.settings.callback_encoding
    came = {name for raw, _ in rows for name, _ in decode_form(raw, encoding)}
    never = [name for name in NOTICE if name not in came]
    yield from _lacking(never, len(rows))
    faults = Counter(name for _, names in rows for name in names.split(",") if name)
    often = [name for name, times in faults.items() if times >= len(rows) * OFTEN]
    if often:
        yield found("notices.faulty", f"In many notices this breaks its rule: {', '.join(sorted(often))}.")


def _recent_notices(session: Session) -> list[tuple[bytes, str]]:
    """Read the newest notices as they came, but for those whose customer was taken out."""
    recent = (
        sa.select(Notification.raw, Notification.faults)
        .outerjoin(Payment, Payment.id == Notification.payment_id)
        .where(Notification.source == "callback", Payment.purged_at.is_(None))
        .order_by(Notification.id.desc())
        .limit(RECENT)
    )
    return [(raw, faults) for raw, faults in session.execute(recent) if raw]


def _lacking(never: list[str], looked_at: int) -> Iterator[Finding]:
    """Sort the parameters that never came by what depends on them."""
    of = f"in none of the last {looked_at:,} notices" if looked_at > 1 else "not in the only notice so far"
    key = ["status"] if "status" in never else []
    if {"order_no", "sendid"} <= set(never):
        key += ["order_no", "sendid"]
    deciding = [name for name in ("order_no", "sendid", "money") if name in never and name not in key]
    others = [name for name in never if name not in (*key, *deciding)]
    for names, code in ((key, "key"), (deciding, "deciding"), (others, "others")):
        if names:
            yield found(f"notices.{code}_lacking", f"These parameters came {of}: {', '.join(names)}.")


def expiry(patient: Patient) -> Iterator[Finding]:
    """See that somebody tells of slips that expired: ZEUS, or cron."""

    def statuses(session: Session) -> set[str]:
        recent = sa.select(Notification.status).order_by(Notification.id.desc()).limit(MANY).subquery()
        return set(session.scalars(sa.select(recent.c.status).distinct()))

    come = _read(patient, statuses)
    if come and "03" not in come and _age(patient, SWEPT) > SWEEP_EVERY:
        yield found("notices.no_expiry", "ZEUS does not send status 03, and the sweep does not run.")


# --- subscribers ---------------------------------------------------------------------------------


def connected(patient: Patient) -> Iterator[Finding]:
    for kind, code in _NOBODY.items():
        if not SIGNALS[kind].subscribers(patient.app):
            yield found(code, f"No receiver of {kind.value} is connected.")


_NOBODY: Mapping[EventKind, str] = MappingProxyType(
    {
        EventKind.FULFILLMENT_READY: "subscribers.nobody_ships",
        EventKind.REVIEW_REQUIRED: "subscribers.nobody_reviews",
        EventKind.SILENCE_SUSPECTED: "subscribers.nobody_hears_silence",
    }
)


def stranded(patient: Patient) -> Iterator[Finding]:
    known = {name for signal in SIGNALS.values() for name in signal.subscribers(patient.app)}
    for name, count in patient.payments.stranded().items():
        waiting = "delivery waits" if count == 1 else "deliveries wait"
        what = f"{count:,} {waiting} for {name}, which is not connected."
        renamed = _renamed(name, known)
        yield found("subscribers.stranded", f"{what} Is it called {renamed} now?" if renamed else what)


def _renamed(old: str, known: Iterable[str]) -> str:
    """Guess what a receiver is called now: the same function in another module, or a name much like it."""
    last = old.rpartition(".")[2]
    same = sorted(name for name in known if name.rpartition(".")[2] == last)
    return next(iter([*same, *get_close_matches(old, list(known), n=1, cutoff=0.7)]), "")


# --- work ----------------------------------------------------------------------------------------


def sweep(patient: Patient) -> Iterator[Finding]:
    age = _age(patient, SWEPT)
    if age > SWEEP_EVERY:
        yield found("work.sweep", f"flask zeus-cvs expire {_last_ran(age)}.")


def delivering(patient: Patient) -> Iterator[Finding]:
    age = _age(patient, DELIVERED)
    if age > DELIVER_EVERY:
        deferred = patient.settings.delivery is DeliveryMode.DEFERRED
        nobody = ", and with ZEUS_CVS_DELIVERY=deferred nothing else delivers" if deferred else ""
        what = f"flask zeus-cvs deliver {_last_ran(age)}{nobody}."
        yield found("work.deliver", what, severity=Severity.ERROR if deferred else None)


def waiting(patient: Patient) -> Iterator[Finding]:
    work = _read(patient, backlog)
    late = now() - work.due_since if work.due_since is not None else timedelta()
    if late > LATE:
        yield found("work.overdue", f"A delivery has been due for {_time(late)}.")
    if work.parked:
        yield found("work.parked", f"{_count(work.parked, 'delivery is', 'deliveries are')} parked.")


def reviews(patient: Patient) -> Iterator[Finding]:
    wanted = sa.select(sa.func.count(), sa.func.min(Review.created_at)).where(
        Review.resolved_at.is_(None), Review.created_at < now() - PATIENCE
    )
    count, oldest = _counted(patient, wanted)
    if count:
        yield found(
            "work.reviews",
            f"{_count(count, 'review is', 'reviews are')} open, the oldest since {_day(oldest)}.",
        )


def unknown(patient: Patient) -> Iterator[Finding]:
    moment = now()
    died = sa.and_(Application.stored_state == State.SUBMITTING, Application.answer_due_at < moment)
    wanted = sa.select(sa.func.count(), sa.func.min(Application.created_at)).where(
        Application.stored_state.in_((State.UNKNOWN, State.SUBMITTING)),
        sa.or_(Application.stored_state == State.UNKNOWN, died),
        Application.created_at < moment - PATIENCE,
    )
    count, oldest = _counted(patient, wanted)
    if count:
        applications = _count(count, "application has", "applications have")
        what = f"{applications} an unknown outcome, the oldest since {_day(oldest)}."
        yield found("work.unknown", what)


def _counted(patient: Patient, wanted: sa.Executable) -> tuple[int, datetime]:
    count, oldest = _read(patient, lambda session: session.execute(wanted).one())
    return count, oldest


def _read(patient: Patient, work: Callable[[Session], T]) -> T:
    return patient.payments.database.read(work)


def _age(patient: Patient, key: str) -> timedelta:
    memo = patient.payments.database.read(lambda session: recall(session, key))
    return now() - memo.written_at if memo is not None else timedelta.max


def _last_ran(age: timedelta) -> str:
    return "has never run here" if age == timedelta.max else f"last ran {_time(age)} ago"


def _time(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // 1440} days"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(JST):%Y-%m-%d}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


EXAMINATIONS: tuple[Examination, ...] = (
    Examination("settings.mode", "The settings are those of production.", mode),
    Examination("settings.callback_ips", "Only the addresses that you named may notify.", callback_ips),
    Examination("settings.callback_token", "The callback's URL ends in a secret.", callback_token),
    Examination("settings.tests", "Applications are real ones.", tests),
    Examination("settings.demonstration", "Applications go to ZEUS itself.", demonstration),
    Examination("settings.pages", "The customers' pages insist on https, with texts that we have.", pages),
    Examination("settings.asking", "ZEUS is asked as its manual says, and not waited for too long.", asking),
    Examination("settings.delivery", "Receivers do not keep ZEUS waiting.", delivery),
    Examination("settings.secrets", "Secret key and session cookie are safe.", secrets),
    Examination("database.reachable", "The database answers.", database),
    Examination(
        "database.tables", "Tables, columns and keys are those of this version.", tables, _NO_DATABASE
    ),
    Examination("database.keeping", "The database keeps what it has been told.", keeping, _NO_DATABASE),
    Examination("clock.clocks", "The database and this machine agree on the time.", clocks, _NO_DATABASE),
    Examination("clock.names", "Python knows Japan's time zone.", zone),
    Examination("", "", callback),
    Examination(
        "notices.parameters",
        "All 14 parameters of a notice come, and are well written.",
        parameters,
        _NO_TABLES,
    ),
    Examination("notices.expiry", "", expiry, _NO_TABLES),
    Examination("subscribers.connected", "Somebody ships, and a person is told.", connected),
    Examination(
        "subscribers.present", "No delivery waits for a receiver that is not there.", stranded, _NO_TABLES
    ),
    Examination("work.swept", "cron sweeps.", sweep, _NO_TABLES),
    Examination("work.delivered", "cron delivers.", delivering, _NO_TABLES),
    Examination("work.waiting", "Nothing is overdue or parked.", waiting, _NO_TABLES),
    Examination("work.questions", "No review has been open for a day.", reviews, _NO_TABLES),
    Examination("work.outcomes", "No application's outcome has been unknown for a day.", unknown, _NO_TABLES),
)
