"""The manual's operation test (運用テスト) as data: what it checks, what was seen, and what that says.

It judges and does nothing: `operation_run` sends, waits and looks. What is kept here has no customer's detail in it but
masked ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType

from flask_zeus_cvs.clock import JST
from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import DeliveryState, ReviewReason
from flask_zeus_cvs.protocol.codes import STORES, SUPPORT_PHONES, Status, Store, TestType
from flask_zeus_cvs.protocol.fields import NOTICE
from flask_zeus_cvs.protocol.messages import DECIDING, Answer, Outcome
from flask_zeus_cvs.staff.hours import in_time
from flask_zeus_cvs.staff.operation_words import Remark
from flask_zeus_cvs.staff.wording import ERRORS, REVIEWS, STATES


class Mark(StrEnum):
    """What came of a point, as the report writes it."""

    PASSED = "○"
    FAILED = "×"
    OPEN = "未確認"


@dataclass(frozen=True)
class Point:
    """One thing to check: the manual's number of what it belongs to, and who checks it (``question``: a person)."""

    key: str
    item: int
    english: str
    japanese: str
    question: str = ""


#: The manual's four items.
ITEMS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        1: ("Application", "申込データの送信と登録"),
        2: ("Result page", "結果ページの表示"),
        3: ("Notices", "通知の受信とパラメータの取得"),
        4: ("ZEUS's screen", "売上管理画面への反映"),
    }
)

#: In the order of the report.
POINTS: Mapping[str, Point] = MappingProxyType(
    {
        point.key: point
        for point in (
            Point("sent", 1, "Sent and answered", "申込を送信し、応答を受け取った"),
            Point("registered", 1, "Registered by ZEUS", "ゼウスに登録され、オーダー番号を受け取った"),
            Point("numbers", 1, "Payment numbers and deadline", "払込用番号と支払期限を受け取った"),
            Point("page", 2, "Result page shows them", "結果ページに、番号が決められた名称で表示された"),
            Point(
                "page_private", 2, "https only, stored nowhere", "結果ページはhttpsでだけ開け、保存されない"
            ),
            Point(
                "page_phone",
                2,
                "Result page on a phone",
                "スマートフォンで結果ページが正しく見えた",
                "Did the result page look right on a phone, on https?",
            ),
            Point("notices", 3, "Notices came", "通知（CGIコール）がすべて届いた"),
            Point("parameters", 3, "Parameters could be read", "通知のパラメータを読み取れた"),
            Point("agree", 3, "Notices agree with the answer", "通知の内容が申込・応答と一致した"),
            Point("states", 3, "States followed", "支払いの状態が通知どおりに変わった"),
            Point("receivers", 3, "Receivers were called", "ショップの処理（レシーバー）が呼ばれた"),
            Point(
                "mail_customer",
                3,
                "Mail to the customer",
                "お客様あてのメールが届いた",
                "Did ZEUS's mail reach the tester's address? (Leave it open if it is turned off.)",
            ),
            Point(
                "mail_shop",
                3,
                "Mails to the shop",
                "ショップあてのメールが届いた",
                "Did ZEUS's mails to the shop come, one for each notice? (Leave it open if they are turned off.)",
            ),
            Point(
                "screen",
                4,
                "ZEUS's screen",
                "売上管理画面にテストデータが表示された",
                "Does ZEUS's screen (売上管理画面) show the test with the same order number, amount and status?",
            ),
        )
    }
)

#: What ZEUS tells of each type, in order, and the state that the payment has in the end.
EXPECTED: Mapping[TestType, tuple[Status, ...]] = MappingProxyType(
    {
        TestType.NO_PAYMENT: (Status.AWAITING_PAYMENT,),
        TestType.SALE_CONFIRMED: (
            Status.AWAITING_PAYMENT,
            Status.PAYMENT_RECEIVED,
            Status.SALE_CONFIRMED,
        ),
        TestType.PAYMENT_CANCELLED: (
            Status.AWAITING_PAYMENT,
            Status.PAYMENT_RECEIVED,
            Status.PAYMENT_CANCELLED,
        ),
    }
)
_STATE_AFTER: Mapping[Status, State] = MappingProxyType(
    {
        Status.AWAITING_PAYMENT: State.AWAITING_PAYMENT,
        Status.PAYMENT_RECEIVED: State.RECEIVED,
        Status.SALE_CONFIRMED: State.CONFIRMED,
        Status.PAYMENT_CANCELLED: State.CANCELLED,
    }
)
#: What the shop hears of a test.
_KINDS: Mapping[Status, EventKind] = MappingProxyType(
    {
        Status.AWAITING_PAYMENT: EventKind.APPLICATION_ACCEPTED,
        Status.PAYMENT_RECEIVED: EventKind.PAYMENT_RECEIVED,
        Status.SALE_CONFIRMED: EventKind.SALE_CONFIRMED,
        Status.PAYMENT_CANCELLED: EventKind.PAYMENT_CANCELLED,
    }
)


@dataclass(frozen=True)
class Finding:
    """What came of one point: the mark, what was seen, and for a failure the causes, the likeliest first."""

    mark: Mark
    remarks: tuple[Remark, ...] = ()
    causes: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Page:
    """What the result page showed: what was not on it, whether plain http got it, whether it forbids storing.

    ``problem`` says why it could not be opened; then the rest means nothing.
    """

    lacks: tuple[str, ...] = ()
    over_http: int | None = None
    no_store: bool = True
    problem: str = ""


@dataclass(frozen=True)
class Seen:
    """A notice as the database has it: when it came first, the names it brought, and which of them are wrong."""

    status: Status
    at: datetime
    times: int
    brought: frozenset[str]
    unread: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    encoding: Remark | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the 14 that it did not bring."""
        return tuple(name for name in NOTICE if name not in self.brought)


@dataclass(frozen=True)
class Called:
    """One event for one receiver, as the database has it."""

    kind: EventKind
    subscriber: str
    state: DeliveryState
    error: str = ""


@dataclass(frozen=True)
class Books:
    """What the database says of one test's payment."""

    state: State = State.OPEN
    notices: tuple[Seen, ...] = ()
    calls: tuple[Called, ...] = ()
    reviews: tuple[ReviewReason, ...] = ()
    shipped: bool = False

    def came(self, status: Status) -> Seen | None:
        return next((each for each in self.notices if each.status is status), None)


@dataclass(frozen=True)
class Trial:
    """One application of the test: what was sent where and when (aware), and all that was seen of it.

    ``reason`` is why there is no ``answer``; ``sent`` whether a byte of the application may have left.
    """

    store: Store
    reference: str
    payment_id: int
    began: datetime
    seconds: float = 0.0
    sent: bool = True
    answer: Answer | None = None
    reason: str = ""
    page: Page | None = None
    books: Books = Books()

    @property
    def has_slip(self) -> bool:
        """Whether ZEUS has registered it, as far as answer and notices tell."""
        accepted = self.answer is not None and self.answer.outcome is Outcome.accepted
        return accepted or bool(self.books.notices)

    @property
    def may_have_slip(self) -> bool:
        """Whether notices can come."""
        declined = self.answer is not None and self.answer.outcome is Outcome.declined
        return self.sent and not declined


@dataclass(frozen=True)
class Door:
    """What is known of the way that notices take: this process's settings, and what else came in meanwhile."""

    path: str = "/zeus-cvs/callback"
    configured: bool = True
    has_token: bool = False
    has_agent: bool = False
    last_before: datetime | None = None
    others: int = 0
    strangers: Mapping[ReviewReason, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Run:
    """One operation test, of one or several stores. Moments are aware; ``amount`` is yen, ``waited`` seconds."""

    kind: TestType
    amount: int
    host: str
    by: str
    tester: Customer  # masked
    shop: str
    versions: tuple[tuple[str, str], ...]
    began: datetime
    ended: datetime
    trials: tuple[Trial, ...]
    hours: tuple[Remark, ...] = ()
    notes: tuple[Remark, ...] = ()
    door: Door = Door()
    waited: float = 0.0
    interrupted: bool = False
    persons: Mapping[str, Finding] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def findings(self) -> Mapping[Store, Mapping[str, Finding]]:
        """Every point of every store, in the order of `POINTS`; what a person says holds for all stores."""
        return {trial.store: self._of(trial) for trial in self.trials}

    def _of(self, trial: Trial) -> Mapping[str, Finding]:
        return {
            key: _BY_MACHINE[key](self, trial)
            if key in _BY_MACHINE
            else self.persons.get(key, Finding(Mark.OPEN, (Remark.of("broken_off"),)))
            for key in POINTS
        }

    def grouped(self) -> Iterator[tuple[Point, Finding, tuple[Store, ...]]]:
        """Yield each finding once, with the stores of which it was found; none stands for all of them."""
        findings = self.findings
        for key, point in POINTS.items():
            found: dict[Finding, list[Store]] = {each[key]: [] for each in findings.values()}
            for store, each in findings.items():
                found[each[key]].append(store)
            for finding, stores in found.items():
                yield point, finding, tuple(stores) if len(found) > 1 else ()

    @property
    def marks(self) -> Counter[Mark]:
        """How many points have each mark; what a person says counts once."""
        every = list(self.findings.values())
        told = [each[key].mark for each in every for key in POINTS if key in _BY_MACHINE]
        once = [each[key].mark for each in every[:1] for key in POINTS if key not in _BY_MACHINE]
        return Counter([*told, *once])

    @property
    def in_time(self) -> bool:
        """Whether it was carried out in the hours that ZEUS allows, as far as was looked at."""
        return in_time(self.hours)

    def expected(self) -> tuple[Status, ...]:
        return EXPECTED[self.kind]

    def awaited(self) -> tuple[tuple[Trial, Status], ...]:
        """Which notices have not come yet."""
        return tuple(
            (trial, status)
            for trial in self.trials
            if trial.may_have_slip
            for status in self.expected()
            if trial.books.came(status) is None
        )


def names_of(names: Iterable[str]) -> str:
    return ", ".join(names)


# --- 1: the application ------------------------------------------------------------------------------


def _sent(run: Run, trial: Trial) -> Finding:
    if not trial.sent:
        return _failed("not_sent", host=run.host, reason=trial.reason)
    if trial.answer is None:
        return _failed("unanswered", reason=trial.reason) if trial.reason else _open("broken_off")
    if trial.answer.outcome is Outcome.unknown:
        return _failed("not_understood")
    return _passed("answered", seconds=f"{trial.seconds:.1f}")


def _registered(run: Run, trial: Trial) -> Finding:
    answer = trial.answer
    if answer is None or answer.outcome is Outcome.unknown:
        return _open("no_slip")
    if answer.outcome is Outcome.declined:
        return _declined(run, trial, answer)
    return _passed("registered", order_no=answer.order_no) if answer.order_no else _failed("no_order_no")


_PARAMETER_CURES: Mapping[str, str] = MappingProxyType(
    {
        "testid": "cure_test_id",
        "test_type": "cure_test_id",
        "clientip": "cure_client_ip",
        "username": "cure_details",
        "telno": "cure_details",
        "email": "cure_details",
        "pay_cvs": "cure_store",
    }
)
_CODE_CURES: Mapping[str, str] = MappingProxyType(
    {
        "800000": "cure_test_id",
        "800001": "cure_service",
        "800002": "cure_store",
        "0008": "cure_later",
        "0013": "cure_later",
    }
)


def _declined(run: Run, trial: Trial, answer: Answer) -> Finding:
    facts = {"store": STORES[trial.store].name, "phones": " / ".join(SUPPORT_PHONES)}
    if answer.parameter:
        seen = Remark.of("named_parameter", parameter=answer.parameter)
        cure = _PARAMETER_CURES.get(answer.parameter, "cure_support")
    elif answer.error_code:
        code = answer.error_code
        english, japanese = ERRORS.get(code, ("unknown", "不明"))
        seen = Remark.of("declined", code=code, meaning_en=english, meaning_ja=japanese)
        cure = _CODE_CURES.get(code, "cure_support")
    else:
        return _failed("declined_bare")
    late = () if run.in_time else (Remark.of("cause_hours"),)
    return Finding(Mark.FAILED, (seen, Remark.of(cure, **facts), *late))


def _numbers(run: Run, trial: Trial) -> Finding:  # noqa: ARG001
    answer = trial.answer
    if answer is None or answer.outcome is not Outcome.accepted:
        return _open("no_slip")
    numbers = numbers_of(trial.store, answer)
    missing = [label for label, value in numbers if not value]
    missing += ["pay_limit"] if answer.pay_limit is None else []
    missing += ["pay_url"] if trial.store is Store.SEVEN_ELEVEN and not answer.pay_url else []
    remarks = [Remark.of("numbers_missing", names="、".join(missing))] if missing else []
    remarks += [Remark.of("answer_faults", names=names_of(answer.faults))] if answer.faults else []
    if remarks:
        return Finding(Mark.FAILED, tuple(remarks))
    told = "、".join(f"{label} {value}" for label, value in numbers)
    return _passed("numbers", numbers=told, deadline=day_of(answer.pay_limit))


def numbers_of(store: Store, answer: Answer) -> list[tuple[str, str]]:
    """Return the numbers of an answer under the store's names for them."""
    info = STORES[store]
    pairs = [(info.pay_no1, answer.pay_no1)]
    return [*pairs, (info.pay_no2, answer.pay_no2)] if info.pay_no2 else pairs


def day_of(day: date | None) -> str:
    return f"{day:%Y/%m/%d}" if day else "-"


# --- 2: the result page --------------------------------------------------------------------------------


def _page(run: Run, trial: Trial) -> Finding:  # noqa: ARG001
    if trial.page is None:
        return _open("no_slip")
    if trial.page.problem:
        return _failed("page_failed", reason=trial.page.problem)
    if trial.page.lacks:
        return _failed("page_lacks", what="、".join(trial.page.lacks))
    info = STORES[trial.store]
    shown = _passed("page_shows", labels="、".join(each for each in (info.pay_no1, info.pay_no2) if each))
    leads_on = trial.store is Store.SEVEN_ELEVEN
    return Finding(shown.mark, (*shown.remarks, *([Remark.of("page_seven")] if leads_on else [])))


def _page_private(run: Run, trial: Trial) -> Finding:  # noqa: ARG001
    page = trial.page
    if page is None:
        return _open("no_slip")
    if page.problem:
        return _open("page_failed", reason=page.problem)
    remarks = [] if page.over_http is None else [Remark.of("page_over_http", status=page.over_http)]
    remarks += [] if page.no_store else [Remark.of("page_stored")]
    return Finding(Mark.FAILED, tuple(remarks)) if remarks else _passed("page_private")


# --- 3: the notices ------------------------------------------------------------------------------------


def _notices(run: Run, trial: Trial) -> Finding:
    missing = [status for status in run.expected() if trial.books.came(status) is None]
    notices = [(each.status, f"{after(trial, each):.0f}") for each in trial.books.notices]
    came = {
        "notices_en": names_of(f"{status} after {seconds} s" for status, seconds in notices),
        "notices_ja": "、".join(f"{status}（{seconds}秒後）" for status, seconds in notices),
    }
    if not missing:
        return _passed("came", **came)
    if not trial.may_have_slip:
        return _open("no_slip")
    seen = Remark.of("came_so_far", **came) if notices else Remark.of("nothing_came")
    if run.interrupted:
        return Finding(Mark.OPEN, (seen, Remark.of("broken_off")))
    english, japanese = _duration(run.waited)
    waited = Remark.of("missing", statuses=names_of(missing), waited_en=english, waited_ja=japanese)
    if any(each.books.notices for each in run.trials):
        return Finding(Mark.FAILED, (seen, waited, Remark.of("later_missing")))
    return Finding(
        Mark.FAILED,
        (waited, *_what_else_came(run.door), Remark.of("where_to_look"), Remark.of("mend_and_resend")),
        causes(run),
    )


def causes(run: Run) -> tuple[Remark, ...]:
    """Return why no notice may have come, the likeliest first."""
    door = run.door
    return (
        Remark.of("cause_address" if door.configured else "cause_unconfigured"),
        *([Remark.of("cause_token")] if door.has_token else []),
        Remark.of("cause_proxy"),
        *([Remark.of("cause_agent")] if door.has_agent else []),
        Remark.of("cause_url", path=door.path),
        Remark.of("cause_firewall"),
        *([] if run.in_time else [Remark.of("cause_hours")]),
    )


def _what_else_came(door: Door) -> Iterable[Remark]:
    """Say what the database tells of other notices: whether the way in has ever been open."""
    if door.strangers:
        yield Remark.of(
            "strangers_came", count=sum(door.strangers.values()), **_reasons(sorted(door.strangers))
        )
    if door.others:
        yield Remark.of("others_came", count=door.others)
    elif door.last_before is None:
        yield Remark.of("never_before")
    else:
        yield Remark.of("last_before", moment=moment_of(door.last_before))


def _parameters(run: Run, trial: Trial) -> Finding:  # noqa: ARG001
    notices = trial.books.notices
    if not notices:
        return _open("no_notice")
    unread = _per_names("parameters_unread", ((each.status, each.unread) for each in notices))
    garbled = dict.fromkeys(each.encoding for each in notices if each.encoding)
    missing = [name for name in NOTICE if any(name in each.missing for each in notices)]
    lacking = [Remark.of("parameters_missing", names=names_of(missing))] if missing else []
    wrong = bool(unread or garbled) or any(name in DECIDING for name in missing)
    if not (wrong or missing):
        return _passed("all_parameters")
    return Finding(Mark.FAILED if wrong else Mark.PASSED, (*unread, *garbled, *lacking))


def _per_names(key: str, found: Iterable[tuple[Status, tuple[str, ...]]]) -> tuple[Remark, ...]:
    """Say once of several notices what is wrong with the same parameters of theirs."""
    statuses: dict[str, list[str]] = {}
    for status, names in found:
        if names:
            statuses.setdefault(names_of(names), []).append(status)
    return tuple(Remark.of(key, statuses=names_of(each), names=names) for names, each in statuses.items())


def _agree(run: Run, trial: Trial) -> Finding:  # noqa: ARG001
    if not trial.books.notices:
        return _open("no_notice")
    wrong = _per_names("differs", ((each.status, each.differs) for each in trial.books.notices))
    return Finding(Mark.FAILED, wrong) if wrong else _passed("agrees")


def _states(run: Run, trial: Trial) -> Finding:
    books = trial.books
    if not any(each.status in _STATE_AFTER for each in books.notices):
        return _open("no_notice")
    wanted = _STATE_AFTER[max(each.status for each in books.notices if each.status in _STATE_AFTER)]
    state = {"state_en": STATES[books.state].en, "state_ja": STATES[books.state].ja}
    wrong = []
    if books.state is not wanted:
        should = {"wanted_en": STATES[wanted].en, "wanted_ja": STATES[wanted].ja}
        wrong.append(Remark.of("state_wrong", **state, **should, reference=trial.reference))
    if books.reviews:
        wrong.append(Remark.of("reviews", **_reasons(books.reviews), reference=trial.reference))
    if wrong:
        return Finding(Mark.FAILED, tuple(wrong))
    everything = all(books.came(status) for status in run.expected())
    return _passed("followed", **state) if everything else _open("not_all_came", **state)


def _receivers(run: Run, trial: Trial) -> Finding:
    books = trial.books
    if not trial.has_slip:
        return _open("no_slip")
    wrong = [_trouble(each) for each in books.calls if each.state not in _SETTLED]
    if books.shipped and Remark.of("goods_ship") not in run.notes:
        wrong.append(Remark.of("shipped"))
    if wrong:
        over = all(books.came(status) for status in run.expected()) and not run.interrupted
        only_waits = not over and all(each.key == "receiver_waits" for each in wrong)
        return Finding(Mark.OPEN if only_waits else Mark.FAILED, tuple(wrong))
    names = sorted({each.subscriber for each in books.calls})
    if names:
        return _passed("called", count=len(books.calls), names=names_of(names))
    if not books.notices:
        return _open("no_notice")
    return _open("nobody_listens", kinds=names_of(_KINDS[status] for status in run.expected()))


_SETTLED = (DeliveryState.DONE, DeliveryState.OBSOLETE, DeliveryState.DISMISSED)


def _trouble(call: Called) -> Remark:
    if call.error:
        return Remark.of("receiver_failed", name=call.subscriber, kind=call.kind, error=call.error)
    return Remark.of("receiver_waits", name=call.subscriber, kind=call.kind)


_BY_MACHINE: Mapping[str, Callable[[Run, Trial], Finding]] = MappingProxyType(
    {
        "sent": _sent,
        "registered": _registered,
        "numbers": _numbers,
        "page": _page,
        "page_private": _page_private,
        "notices": _notices,
        "parameters": _parameters,
        "agree": _agree,
        "states": _states,
        "receivers": _receivers,
    }
)


# --- words -----------------------------------------------------------------------------------------------


def _passed(key: str, **values: object) -> Finding:
    return Finding(Mark.PASSED, (Remark.of(key, **values),))


def _failed(key: str, **values: object) -> Finding:
    return Finding(Mark.FAILED, (Remark.of(key, **values),))


def _open(key: str, **values: object) -> Finding:
    return Finding(Mark.OPEN, (Remark.of(key, **values),))


def _reasons(reasons: Iterable[ReviewReason]) -> dict[str, str]:
    names = [REVIEWS[each].name for each in reasons]
    return {
        "reasons_en": names_of(each.en for each in names),
        "reasons_ja": "、".join(each.ja for each in names),
    }


def moment_of(moment: datetime) -> str:
    """Spell an aware moment in Japan's time."""
    return f"{moment.astimezone(JST):%Y/%m/%d %H:%M:%S}"


def after(trial: Trial, seen: Seen) -> float:
    """Return the seconds from the application to a notice; never less than 0, whatever the machines' clocks say."""
    return max(0.0, (seen.at - trial.began).total_seconds())


def _duration(seconds: float) -> tuple[str, str]:
    if seconds < 120:
        return f"{seconds:.0f} seconds", f"{seconds:.0f}秒"
    return f"{seconds / 60:.0f} minutes", f"{seconds / 60:.0f}分"
