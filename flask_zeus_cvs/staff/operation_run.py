"""Carries the operation test out: sends test applications by the shop's own verbs, and watches the database.

The test's settings hold in this process alone: the running shop, which takes the notices and calls the receivers, goes
on with its own, and none of its customers is given a test slip.
"""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from typing import Self
from urllib.parse import unquote_to_bytes

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_zeus_cvs.clock import JST, now
from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.exceptions import GatewayError, NotSent
from flask_zeus_cvs.gateway import Gateway
from flask_zeus_cvs.lifecycle import HOLDS_MONEY, State
from flask_zeus_cvs.models import (
    Application,
    Base,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
    ReviewReason,
)
from flask_zeus_cvs.outbox import Outbox
from flask_zeus_cvs.payments import EXTENSION, Payments
from flask_zeus_cvs.protocol.codes import Status, Store, TestType
from flask_zeus_cvs.protocol.messages import Answer, ApplicationRequest, Outcome
from flask_zeus_cvs.protocol.wire import SHIFT_JIS, decode_form
from flask_zeus_cvs.settings import DeliveryMode
from flask_zeus_cvs.staff.operation_test import Books, Called, Door, Page, Run, Seen, Trial, numbers_of
from flask_zeus_cvs.staff.operation_words import Remark

#: Seconds between two looks into the database.
LOOK_SECONDS = 1.0
#: Seconds without any notice after which the callback counts as blocked, if the tester's patience is not shorter.
FIRST_SECONDS = 600.0
#: Seconds that receivers have after the last notice: the shop's background thread looks every 30.
RECEIVERS_SECONDS = 90.0
#: Sent along, so that its echo can be compared; letters alone, as symbols may be encoded twice on their way.
SENDPOINT = "TESTORDER"
#: Where a customer's request seems to come from: anywhere but this machine.
_ELSEWHERE = "192.0.2.1"
_REDIRECTS = range(300, 400)


class _Overheard(Gateway):
    """The shop's own way to ZEUS, of which is remembered what came back last."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.came: Answer | GatewayError | None = None

    def apply(self, request: ApplicationRequest) -> Answer:
        self.came = None
        try:
            self.came = self._gateway.apply(request)
        except GatewayError as error:
            self.came = error
            raise
        return self.came


class Rehearsal(Payments):
    """The verbs of an app with a test's settings: applications are tests, and the running shop delivers."""

    _overheard: _Overheard
    #: What was sent and answered, by payment and parameter, for what comes back; it never leaves this object.
    _expected: dict[int, Mapping[str, str]]
    _last_id: int
    _last_before: Door

    @classmethod
    def of(cls, own: Payments, test_id: str, kind: TestType) -> Self:
        settings = replace(own.settings, test_id=test_id, test_type=kind, delivery=DeliveryMode.DEFERRED)
        overheard = _Overheard(own._gateway)
        outbox = Outbox(own._app, own._database, settings)
        rehearsal = cls(own._app, own._database, settings, overheard, outbox)
        rehearsal._overheard, rehearsal._expected = overheard, {}
        return rehearsal

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the app's pages and verbs be this test's, in this process; looks at once what notices there are."""
        own = self._app.extensions[EXTENSION]
        self._last_id, self._last_before = self._database.read(self._look_before)
        self._app.extensions[EXTENSION] = self
        try:
            yield
        finally:
            self._app.extensions[EXTENSION] = own

    def missing_tables(self) -> list[str]:
        """Name the tables of ours that the database lacks; raises `DBAPIError` if there is no database."""
        there = set(sa.inspect(self._database.engine).get_table_names())
        return sorted(set(Base.metadata.tables) - there)

    def by_token(self, token: str) -> Payment | None:
        """Read a payment as it was when the answer came: a test's notices change its page within a second."""
        payment = super().by_token(token)
        application = payment.application if payment is not None else None
        if application is not None and application.state in _LATER:
            application.stored_state = State.AWAITING_PAYMENT
        return payment

    # --- send --------------------------------------------------------------------------------------------

    def prepare(self, store: Store, amount: int) -> Trial:
        """Create the payment of one test, and commit it."""
        moment = now()
        reference = f"TEST-{moment.astimezone(JST):%Y%m%d-%H%M%S}-{store}"
        payment = self.create(amount=amount, reference=reference, sendpoint=SENDPOINT)
        self._database.db.session.commit()
        return Trial(store, reference, payment.id, moment)

    def apply(self, trial: Trial, customer: Customer) -> Trial:
        """Send the application, look at its result page, and say what came back; a payment without a slip is closed."""
        session = self._database.db.session
        payment = session.get_one(Payment, trial.payment_id)
        trial = replace(trial, began=now())
        started = time.monotonic()
        application = self.submit(payment, customer, trial.store)
        trial = _answered(replace(trial, seconds=time.monotonic() - started), self._overheard.came)
        self._expected[trial.payment_id] = self._expectation(application, customer, trial)
        if not trial.may_have_slip:
            self.close(payment)
        token = payment.token
        session.commit()
        if trial.answer is not None and trial.answer.outcome is Outcome.accepted:
            trial = replace(trial, page=self._page(token, trial.store, trial.answer))
        return trial

    def _expectation(self, application: Application, customer: Customer, trial: Trial) -> Mapping[str, str]:
        answer = trial.answer if trial.has_slip else None
        limit = answer.pay_limit if answer else None
        expected = {
            "clientip": self.settings.client_ip,
            "money": str(application.payment.amount),
            "username": customer.name,
            "telno": customer.phone,
            "email": customer.email,
            "sendid": application.sendid,
            "sendpoint": SENDPOINT,
            "pay_cvs": trial.store.value,
            "order_no": answer.order_no if answer else "",
            "pay_no1": answer.pay_no1 if answer else "",
            "pay_no2": answer.pay_no2 if answer else "",
            "pay_limit": f"{limit:%Y%m%d}" if limit else "",
        }
        return {name: value for name, value in expected.items() if value}

    # --- the result page ---------------------------------------------------------------------------------

    def _page(self, token: str, store: Store, answer: Answer) -> Page:
        """Open the page as a customer would, once over https and once over plain http."""
        try:
            status, text, caching = self._opened("https", token)
            over_http, _, _ = self._opened("http", token)
        except Exception as error:  # the shop's own code runs here
            return Page(problem=type(error).__name__)
        if status != 200:
            return Page(problem=f"HTTP {status}")
        return Page(
            lacks=lacking(text, numbers_of(store, answer)),
            over_http=None if over_http == 403 or over_http in _REDIRECTS else over_http,
            no_store="no-store" in caching,
        )

    def _opened(self, scheme: str, token: str) -> tuple[int, str, str]:
        config = self._app.config
        trusted: list[str] = config.get("TRUSTED_HOSTS") or []
        host = config["SERVER_NAME"] or (trusted[0].lstrip(".") if trusted else "shop.example")
        answer = self._app.test_client(use_cookies=False).get(
            f"{self.settings.url_prefix}/result/{token}",
            base_url=f"{scheme}://{host}{config['APPLICATION_ROOT'].rstrip('/')}",
            headers={"Accept-Language": "ja"},
            environ_overrides={"REMOTE_ADDR": _ELSEWHERE},
        )
        return answer.status_code, answer.get_data(as_text=True), answer.headers.get("Cache-Control", "")

    # --- watch -------------------------------------------------------------------------------------------

    def watch(self, run: Run, patience: float) -> Iterator[Run]:
        """Look until everything has come, or nothing has for ``patience`` seconds; yield what there is at each look.

        Before the first notice, `FIRST_SECONDS` are enough. Then receivers are waited for.
        """
        count, last = 0, time.monotonic()
        while True:
            run = self.look(run)
            came = sum(len(trial.books.notices) for trial in run.trials)
            if came > count:
                count, last = came, time.monotonic()
            run = replace(run, waited=time.monotonic() - last)
            yield run
            if not run.awaited() or rest(run, patience) <= 0:
                break
            time.sleep(LOOK_SECONDS)
        yield from self._watch_receivers(run)

    def _watch_receivers(self, run: Run) -> Iterator[Run]:
        end = time.monotonic() + RECEIVERS_SECONDS
        while not run.awaited() and _is_under_way(run) and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
            run = self.look(run)
            yield run

    def look(self, run: Run) -> Run:
        """Read what the database says now."""
        trials = tuple(replace(trial, books=self._read_books(trial)) for trial in run.trials)
        ours = [trial.payment_id for trial in trials]
        door = self._database.read(lambda session: self._door(session, ours))
        return replace(run, trials=trials, door=door, ended=now())

    def _read_books(self, trial: Trial) -> Books:
        return self._database.read(lambda session: self._books(session, trial))

    def _books(self, session: Session, trial: Trial) -> Books:
        ours = trial.payment_id
        payment = session.get_one(Payment, ours)
        rows = session.scalars(
            sa.select(Notification).where(Notification.payment_id == ours).order_by(Notification.id)
        )
        calls = session.execute(
            sa.select(Event.kind, Delivery.subscriber, Delivery.state, Delivery.last_error)
            .join(Delivery.event)
            .where(Event.payment_id == ours)
            .order_by(Delivery.id)
        )
        reviews = session.scalars(
            sa.select(Review.reason).where(Review.payment_id == ours, Review.resolved_at.is_(None))
        )
        return Books(
            state=payment.state,
            notices=tuple(self._seen(row, trial) for row in rows),
            calls=tuple(Called(*each) for each in calls),
            reviews=tuple(reviews),
            shipped=payment.fulfilled_at is not None,
        )

    def _seen(self, row: Notification, trial: Trial) -> Seen:
        expected = self._expected.get(trial.payment_id, {})
        codec = self.settings.callback_encoding
        unread = tuple(row.faults.split(",")) if row.faults else ()
        given = dict(decode_form(row.raw, codec))
        readable = [name for name in expected if name in given and name not in unread]
        return Seen(
            status=Status(row.status),
            at=row.first_at,
            times=row.times,
            brought=frozenset(given),
            unread=unread,
            differs=tuple(each for each in readable if not alike(each, given[each], expected[each])),
            encoding=spelling(row.raw, expected["username"], codec)
            if expected and "username" in unread
            else None,
        )

    def links(self, run: Run) -> list[str]:
        """Return where the result pages are, for the tester's own phone: each is a key to its payment."""
        return self._database.read(
            lambda session: [session.get_one(Payment, trial.payment_id).result_url for trial in run.trials]
        )

    # --- what else came --------------------------------------------------------------------------------

    def _look_before(self, session: Session) -> tuple[int, Door]:
        newest = session.execute(
            sa.select(Notification.id, Notification.first_at)
            .where(Notification.source == "callback")
            .order_by(Notification.id.desc())
            .limit(1)
        ).one_or_none()
        settings = self.settings
        path = f"{settings.url_prefix}/callback"
        door = Door(
            path=f"{path}/(ZEUS_CVS_CALLBACK_TOKEN)" if settings.callback_token else path,
            configured=bool(settings.callback_ips),
            has_token=bool(settings.callback_token),
            has_agent=bool(settings.callback_user_agent),
            last_before=newest.first_at if newest else None,
        )
        return session.scalar(sa.select(sa.func.max(Notification.id))) or 0, door

    def _door(self, session: Session, ours: Sequence[int]) -> Door:
        others = (
            sa.select(sa.func.count())
            .select_from(Notification)
            .where(Notification.id > self._last_id, Notification.payment_id.not_in(ours))
        )
        strangers = sa.select(Review.reason).where(
            Review.notification_id > self._last_id,
            Review.payment_id.is_(None),
            Review.resolved_at.is_(None),
            Review.reason.in_(_STRANGERS),
        )
        return replace(
            self._last_before,
            others=session.scalar(others) or 0,
            strangers=Counter(session.scalars(strangers)),
        )


_LATER = HOLDS_MONEY | {State.CANCELLED}
_STRANGERS = (ReviewReason.UNREADABLE, ReviewReason.UNKNOWN_ORDER, ReviewReason.FOREIGN_MERCHANT)


def _answered(trial: Trial, came: Answer | GatewayError | None) -> Trial:
    if isinstance(came, Answer):
        return replace(trial, answer=came)
    return replace(trial, sent=not isinstance(came, NotSent), reason=str(came))


def rest(run: Run, patience: float) -> float:
    """Return for how many seconds more the next notice is waited for; the first one has `FIRST_SECONDS` at most."""
    came = any(trial.books.notices for trial in run.trials)
    return (patience if came else min(patience, FIRST_SECONDS)) - run.waited


def _is_under_way(run: Run) -> bool:
    """Tell whether a receiver has yet to be called for the first time."""
    calls = [call for trial in run.trials for call in trial.books.calls]
    return any(each.state is DeliveryState.PENDING and not each.error for each in calls)


class _Text(HTMLParser):
    """The text of a page that can be seen, without any white space."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self._hidden += tag in ("script", "style", "template")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style", "template")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else "".join(data.split())


#: Characters that may stand between a number's name and the number.
_NEAR = 80


def lacking(page: str, numbers: list[tuple[str, str]]) -> tuple[str, ...]:
    """Name the payment numbers that do not stand on a page right after their names."""
    reader = _Text()
    reader.feed(page)
    reader.close()
    pieces = {label: reader.text.split("".join(label.split()))[1:] for label, _ in numbers}
    return tuple(
        label for label, value in numbers if not any(value in piece[:_NEAR] for piece in pieces[label])
    )


# --- reading notices ---------------------------------------------------------------------------------------

#: What a name may have been written in: as people call it, and as Python does.
_CODECS = (
    ("Shift_JIS", SHIFT_JIS),
    ("UTF-8", "utf-8"),
    ("EUC-JP", "euc_jp"),
    ("ISO-2022-JP", "iso2022_jp"),
)


def alike(name: str, given: str | None, sent: str) -> bool:
    """Tell whether a parameter came back as it was sent; the width of a name's space is ZEUS's."""
    return given is not None and (given.replace(" ", "\u3000") if name == "username" else given) == sent


def spelling(raw: bytes, sent: str, setting: str) -> Remark:
    """Find out how a notice writes the name that was ``sent``, where the shop could not read it as it is set."""
    given = next((value or "" for name, value in decode_form(raw, "latin-1") if name == "username"), "")
    written = given.encode("latin-1")
    found = next((each for each in _CODECS if _reads(written, each[1], sent)), None)
    if found is not None:
        label, codec = found
        if codec != SHIFT_JIS:
            return Remark.of("encoding_other", found=label, codec=codec)
        return Remark.of("encoding_setting", codec=setting)
    if _reads(unicodedata.normalize("NFKC", _decoded(written, setting)).encode(), "utf-8", sent):
        return Remark.of("name_narrow")
    if any(_reads(unquote_to_bytes(written), codec, sent) for _, codec in _CODECS):
        return Remark.of("encoding_twice")
    if any(_reads(_narrowed(written, codec), SHIFT_JIS, sent) for codec in ("latin-1", "cp1252")):
        return Remark.of("encoding_garbled")
    return Remark.of("encoding_unknown")


def _reads(written: bytes, codec: str, sent: str) -> bool:
    try:
        return alike("username", written.decode(codec), sent)
    except UnicodeError:
        return False


def _decoded(written: bytes, codec: str) -> str:
    return written.decode(codec, "replace")


def _narrowed(written: bytes, codec: str) -> bytes:
    """Undo that bytes were taken for Latin-1 and written in UTF-8."""
    return written.decode("utf-8", "replace").encode(codec, "replace")
