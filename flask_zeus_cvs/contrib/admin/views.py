"""The five lists, what one row of each shows, and the decisions about it: each is a verb, and none writes a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from flask import Response, abort, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session, joinedload, selectinload

from flask_zeus_cvs.clock import now
from flask_zeus_cvs.contrib.admin.access import Access
from flask_zeus_cvs.contrib.admin.forms import DecisionForm, ResolveForm
from flask_zeus_cvs.contrib.admin.lists import (
    Asked,
    Choice,
    Column,
    Listing,
    read_all,
    read_page,
    within_days,
)
from flask_zeus_cvs.contrib.admin.page import Page, Translated, moment, route
from flask_zeus_cvs.contrib.admin.words import label, options, source
from flask_zeus_cvs.exceptions import NotResolvable, UnknownDelivery
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.models import (
    LARGEST_ID,
    Delivery,
    DeliveryState,
    Event,
    Notification,
    Payment,
    Review,
    ReviewReason,
    Verdict,
)
from flask_zeus_cvs.protocol.codes import Status, Store
from flask_zeus_cvs.staff.export import Csv, batches, columns, neutralised
from flask_zeus_cvs.staff.reviews import Oddity, oddities
from flask_zeus_cvs.staff.search import Filters, as_pasted, conditions, named
from flask_zeus_cvs.staff.timeline import Story, notice_of, story_of
from flask_zeus_cvs.staff.wording import ERRORS, REVIEWS
from flask_zeus_cvs.web.texts import language, mark, translate

YES, NO = "yes", "no"
#: The number of a row in a page's address.
ROW = f"<int(max={LARGEST_ID}):number>"
#: Deliveries that one decision may be about.
MOST_AT_ONCE = 50


class ListPage(Page):
    """A list with search, choices, days, order and export; it changes nothing."""

    listing: Listing
    template = "list.html"

    @route("/")
    def index(self) -> str:
        asked = Asked.of(self.listing, request.args)
        found = self.read(lambda session: read_page(session, asked))
        return self.show(
            self.template,
            asked=asked,
            found=found,
            listing=self.listing,
            columns=[each for each in self.listing.columns if each.shown],
            words=_words,
            orders=_orders(self.listing),
        )

    @route("/export.csv")
    def export(self) -> Response:
        """Save everything that is asked for, for spreadsheets; with customers' details for whoever may, and asks."""
        asked = Asked.of(self.listing, request.args)
        whole = self.asked_for_all(f"export of {self.endpoint}")
        answer = Response(
            stream_with_context(self._file(asked, whole)), mimetype=f"text/csv; charset={_encoding()}"
        )
        name = f"{self.endpoint.removeprefix('zeus_cvs_')}-{moment(now()):.10}.csv"
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    def _file(self, asked: Asked, whole: bool) -> Iterator[bytes]:  # noqa: ARG002
        """Write what is asked for, a step at a time."""
        columns = self.listing.columns
        yield b"\xef\xbb\xbf" + _line(translate(each.label) for each in columns)
        for row in read_all(self.payments.database.read, asked):
            yield _line(_saved(each, row) for each in columns)

    def asked_for_all(self, what: str) -> bool:
        """Tell whether customers' details are to be shown whole: asked for, permitted (else 403), and put on record."""
        if request.args.get("whole") != YES:
            return False
        if not self.access.reveals():
            abort(403)
        self.note(f"customers' details shown, {what}")
        return True

    def one(self, query: sa.Select[Any]) -> Any:
        """Read one row, or answer 404."""
        return self.read(lambda session: session.scalars(query).unique().one_or_none()) or abort(404)


def _orders(listing: Listing) -> dict[str, str]:
    """Every order that a list can have, and what it is called; newest first where nothing is chosen."""
    labels = {each.name: translate(each.label) for each in listing.columns if each.sort is not None}
    downwards = {f"-{name}": translate("{column} ↓", column=text) for name, text in labels.items()}
    upwards = {name: translate("{column} ↑", column=text) for name, text in labels.items()}
    return {"": translate("新しい順"), **downwards, **upwards}


def _encoding() -> str:
    return "cp932" if request.args.get("encoding") == "cp932" else "utf-8"


def _line(cells: Iterable[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().encode()


def _saved(column: Column, row: Any) -> str:
    """Write a cell for a spreadsheet: nothing that it would compute, and no number that it would change."""
    words = _words(column, row)
    return words if column.kind in ("number", "moment", "day") else neutralised(words)


def _words(column: Column, row: Any) -> str:
    """Write a cell as text."""
    value = column.value(row)
    if value is None:
        return ""
    if column.kind in ("moment", "day"):
        return moment(value)
    if column.kind == "yes":
        return translate("はい") if value else ""
    return label(value) if column.kind == "state" else str(value)


# --- payments ----------------------------------------------------------------------------------------------


def _leading(name: str) -> Callable[[Payment], Any]:
    return lambda payment: getattr(payment.application, name) if payment.application is not None else None


def _filters(asked: Asked) -> Filters:
    chosen = asked.chosen
    return Filters(
        text=asked.text,
        states=(State(chosen["state"]),) if "state" in chosen else (),
        first_day=asked.since,
        last_day=asked.until,
        store=Store(chosen["store"]) if "store" in chosen else None,
        test=_bool(chosen.get("test")),
        under_review=_bool(chosen.get("review")),
    )


def _bool(text: str | None) -> bool | None:
    return None if text is None else text == YES


def _yes_or_no() -> Mapping[str, str]:
    return {YES: translate("はい"), NO: translate("いいえ")}


class PaymentsPage(ListPage):
    listing = Listing(
        model=Payment,
        columns=(
            Column(
                "reference",
                mark("ショップの注文番号"),
                lambda each: each.reference,
                "text",
                Payment.reference,
                link=lambda each: ("zeus_cvs_payments.one_payment", each.id),
            ),
            Column("state", mark("状態"), lambda each: each.state, "state"),
            Column("amount", mark("金額（円）"), lambda each: each.amount, "number", Payment.amount),
            Column("store", mark("コンビニ"), _leading("store"), "state"),
            Column("order_no", mark("オーダー番号"), _leading("order_no")),
            Column("created", mark("作成"), lambda each: each.created_at, "moment", Payment.id),
            Column("deadline", mark("支払期限"), _leading("pay_limit"), "day"),
            Column("applications", mark("申込回数"), lambda each: len(each.applications), "number"),
            Column("test", mark("テスト"), _leading("test"), "yes"),
        ),
        choices=(
            Choice("state", mark("状態"), lambda: options(State)),
            Choice("store", mark("コンビニ"), lambda: options(Store)),
            Choice("review", mark("確認待ち"), _yes_or_no),
            Choice("test", mark("テスト"), _yes_or_no),
        ),
        narrow=lambda session, asked: conditions(session, _filters(asked)),
        hint=mark("注文番号・オーダー番号・sendid・払込用番号"),
        has_details=True,
    )

    def __init__(self, access: Access, category: Translated | None = None) -> None:
        super().__init__(access, mark("支払い"), "payments", category)

    def _file(self, asked: Asked, whole: bool) -> Iterator[bytes]:
        """Write the file that ``flask zeus-cvs export`` writes: one line for each application."""
        table = Csv(columns(reveal=whole), language(), _encoding())
        yield table.heads()
        for lines in batches(self.payments.database, _filters(asked)):
            yield table.write(lines)

    @route(f"/{ROW}")
    def one_payment(self, number: int) -> str:
        whole = self.asked_for_all(f"payment {number}")
        story = self.read(lambda session: self._story(session, number, whole))
        most = self.payments.settings.max_attempts
        return self.show(
            "payment.html", story=story, whole=whole, reviews=REVIEWS, errors=ERRORS, most_attempts=most
        )

    @route(f"/{ROW}/reset", "GET", "POST")
    def reset(self, number: int) -> ResponseReturnValue:
        """Give a customer all attempts again, once somebody has said so twice."""
        payment: Payment = self.one(sa.select(Payment).where(Payment.id == number))
        form = DecisionForm(self.access.person())
        if request.method == "POST" and form.validate():
            self.payments.reset_attempts(payment)
            self.note("attempts reset", form.name, payment=number)
            said = translate("申込回数を0に戻しました。お客様はもう一度申し込めます。")
            return self.go(".one_payment", said, number=number)
        page = self.show(
            "ask.html",
            form=form,
            title=translate("申込回数を0に戻す"),
            texts=[
                payment.reference,
                translate("申込回数の上限に達したお客様が、もう一度申し込めるようになります。"),
            ],
            button=translate("0に戻す"),
            back=url_for(".one_payment", number=number),
        )
        return page, 422 if form.complaints else 200

    def _story(self, session: Session, number: int, whole: bool) -> Story:
        payment = session.get(Payment, number) or abort(404)
        return story_of(session, payment, reveal=whole, encoding=self.payments.settings.callback_encoding)


# --- what belongs to a payment ---------------------------------------------------------------------------------


def _of_payments(column: Any, session: Session, text: str) -> sa.ColumnElement[bool]:
    """Match what belongs to the payments that a search finds."""
    found: sa.ColumnElement[bool] = column.in_(
        sa.select(Payment.id).where(*conditions(session, Filters(text=text)))
    )
    return found


def _reference(each: Any) -> str | None:
    return each.payment.reference if each.payment is not None else None


def _to_payment(each: Any) -> tuple[str, int] | None:
    return ("zeus_cvs_payments.one_payment", each.payment_id) if each.payment_id is not None else None


def _notices_asked(session: Session, asked: Asked) -> Iterator[sa.ColumnElement[bool]]:
    yield from within_days(session, Notification, asked)
    if "verdict" in asked.chosen:
        verdict = Verdict(asked.chosen["verdict"])
        yield Notification.verdict == verdict
        if verdict in _RARE:  # each has its review, by which it is found without a look at all the others
            asked_about = sa.select(Review.notification_id).where(Review.notification_id.is_not(None))
            yield Notification.id.in_(asked_about)
    if "status" in asked.chosen:
        yield Notification.status == asked.chosen["status"]
    if asked.text:
        of_payments = _of_payments(Notification.payment_id, session, asked.text)
        found = sa.union(  # an OR of the two would use neither's index
            sa.select(Notification.id).where(Notification.order_no.in_(as_pasted(asked.text))),
            sa.select(Notification.id).where(of_payments),
        ).subquery()
        yield Notification.id.in_(sa.select(found.c.id))


_RARE = frozenset({Verdict.REVIEW, Verdict.UNREADABLE})


class NoticesPage(ListPage):
    listing = Listing(
        model=Notification,
        columns=(
            Column(
                "first",
                mark("受信"),
                lambda each: each.first_at,
                "moment",
                Notification.id,
                link=lambda each: ("zeus_cvs_notices.one_notice", each.id),
            ),
            Column("status", mark("ステータス"), lambda each: _status(each.status), "state"),
            Column("verdict", mark("扱い"), lambda each: each.verdict, "state"),
            Column("order_no", mark("オーダー番号"), lambda each: each.order_no),
            Column("money", mark("金額（円）"), lambda each: each.money, "number"),
            Column("payment", mark("ショップの注文番号"), _reference, link=_to_payment),
            Column("times", mark("回数"), lambda each: each.times, "number"),
            Column("last", mark("最後の受信"), lambda each: each.last_at, "moment"),
            Column("source", mark("経路"), lambda each: source(each.source)),
            Column("sendid", "sendid", lambda each: each.sendid, shown=False),
            Column("faults", mark("読めなかった項目"), lambda each: each.faults, shown=False),
        ),
        choices=(
            Choice("verdict", mark("扱い"), lambda: options(Verdict)),
            Choice("status", mark("ステータス"), lambda: options(Status)),
        ),
        narrow=_notices_asked,
        hint=mark("注文番号・オーダー番号・sendid"),
        load=(joinedload(Notification.payment).lazyload(Payment.applications),),
    )

    def __init__(self, access: Access, category: Translated | None = None) -> None:
        super().__init__(access, mark("通知"), "notices", category)

    @route(f"/{ROW}")
    def one_notice(self, number: int) -> str:
        notice: Notification = self.one(
            sa.select(Notification)
            .where(Notification.id == number)
            .options(joinedload(Notification.payment).lazyload(Payment.applications))
        )
        whole = self.asked_for_all(f"notice {number}")
        return self.show(
            "notice.html",
            notice=notice,
            told=notice_of(notice, reveal=whole, encoding=self.payments.settings.callback_encoding),
            whole=whole,
            status=_status,
        )


def _status(text: str) -> Status | str:
    return Status(text) if text in list(Status) else text


def _events_asked(session: Session, asked: Asked) -> Iterator[sa.ColumnElement[bool]]:
    yield from within_days(session, Event, asked)
    if "kind" in asked.chosen:
        yield Event.kind == EventKind(asked.chosen["kind"])
    if "test" in asked.chosen:
        yield Event.test.is_(asked.chosen["test"] == YES)
    if asked.text:
        yield _of_payments(Event.payment_id, session, asked.text)


class EventsPage(ListPage):
    listing = Listing(
        model=Event,
        columns=(
            Column(
                "occurred",
                mark("発生"),
                lambda each: each.occurred_at,
                "moment",
                Event.id,
                link=lambda each: ("zeus_cvs_events.one_event", each.id),
            ),
            Column("kind", mark("出来事の種類"), lambda each: each.kind, "state"),
            Column("payment", mark("ショップの注文番号"), _reference, link=_to_payment),
            Column("before", mark("その前の状態"), lambda each: each.previous_state, "state"),
            Column("deliveries", mark("処理"), lambda each: _deliveries(each.deliveries), "long"),
            Column("test", mark("テスト"), lambda each: each.test, "yes"),
        ),
        choices=(
            Choice("kind", mark("出来事の種類"), lambda: options(EventKind)),
            Choice("test", mark("テスト"), _yes_or_no),
        ),
        narrow=_events_asked,
        hint=mark("注文番号・オーダー番号・sendid"),
        load=(
            joinedload(Event.payment).lazyload(Payment.applications),
            selectinload(Event.deliveries),
        ),
    )

    def __init__(self, access: Access, category: Translated | None = None) -> None:
        super().__init__(access, mark("出来事"), "events", category)

    @route(f"/{ROW}")
    def one_event(self, number: int) -> str:
        event = self.one(sa.select(Event).where(Event.id == number).options(*self.listing.load))
        return self.show("event.html", event=event)


def _deliveries(deliveries: list[Delivery]) -> str:
    """Say each receiver's name, without its module, with what became of it."""
    return ", ".join(f"{each.subscriber.rpartition('.')[2]} ({label(each.state)})" for each in deliveries)


# --- what waits for a person -----------------------------------------------------------------------------------


def _reviews_asked(session: Session, asked: Asked) -> Iterator[sa.ColumnElement[bool]]:
    yield from within_days(session, Review, asked)
    if "open" in asked.chosen:
        opened = Review.resolved_at.is_(None)
        yield opened if asked.chosen["open"] == YES else sa.not_(opened)
    if "reason" in asked.chosen:
        yield Review.reason == ReviewReason(asked.chosen["reason"])
    if asked.text:
        of_notices = sa.select(Notification.id).where(Notification.order_no.in_(as_pasted(asked.text)))
        yield sa.or_(
            _of_payments(Review.payment_id, session, asked.text), Review.notification_id.in_(of_notices)
        )


class ReviewsPage(ListPage):
    listing = Listing(
        model=Review,
        columns=(
            Column(
                "reason",
                mark("理由"),
                lambda each: each.reason,
                "state",
                link=lambda each: ("zeus_cvs_reviews.one_review", each.id),
            ),
            Column("created", mark("発生"), lambda each: each.created_at, "moment", Review.id),
            Column("payment", mark("ショップの注文番号"), _reference, link=_to_payment),
            Column(
                "order_no",
                mark("オーダー番号"),
                lambda each: each.notification.order_no if each.notification is not None else None,
            ),
            Column("resolution", mark("判断"), lambda each: each.resolution, "state"),
            Column("resolved", mark("判断した日時"), lambda each: each.resolved_at, "moment"),
            Column("by", mark("判断した人"), lambda each: each.by),
            Column("note", mark("メモ"), lambda each: each.note, "long"),
        ),
        choices=(
            Choice("open", mark("未解決"), _yes_or_no),
            Choice("reason", mark("理由"), lambda: options(ReviewReason)),
        ),
        narrow=_reviews_asked,
        hint=mark("注文番号・オーダー番号・sendid"),
        load=(
            joinedload(Review.payment).lazyload(Payment.applications),
            joinedload(Review.notification),
        ),
    )

    def __init__(self, access: Access, category: Translated | None = None) -> None:
        super().__init__(access, mark("要確認"), "reviews", category)

    @route(f"/{ROW}", "GET", "POST")
    def one_review(self, number: int) -> ResponseReturnValue:
        review: Review = self.one(
            sa.select(Review)
            .where(Review.id == number)
            .options(joinedload(Review.payment), joinedload(Review.notification))
        )
        form = ResolveForm(self.access.person())
        status = 200
        if request.method == "POST" and review.resolved_at is None:
            if form.validate() and (done := self._resolve(review, form)):
                return done
            status = 422
        return self._review_page(review, form), status

    def _resolve(self, review: Review, form: ResolveForm) -> ResponseReturnValue | None:
        payment = None
        if review.payment_id is None and (form.reference.data or "").strip():
            payment = self._meant(review, form)
            if payment is None:
                return None
        try:
            self.payments.resolve(
                review.id, form.chosen, by=form.name, note=form.note.data or "", payment=payment
            )
        except NotResolvable:
            form.reference.errors = [_needs(review)]
            return None
        return self.go(".one_review", translate("判断を記録しました。"), number=review.id)

    def _meant(self, review: Review, form: ResolveForm) -> Payment | None:
        """Find the one payment that a notice is given to; None, with a word in the form, if that is not sure."""
        found = self.read(lambda session: named(session, form.reference.data or ""))
        if len(found) != 1:
            each = ", ".join(f"{one.id} ({label(one.state)} {one.amount:,})" for one in found)
            many = translate(
                "同じ注文番号の支払いがいくつもあります。支払いIDで指定してください：{each}", each=each
            )
            form.reference.errors = [many if found else translate("この注文番号の支払いは見つかりません。")]
            return None
        [payment] = found
        money = review.notification.money if review.notification is not None else None
        odd = oddities(money, payment, form.chosen)
        if odd and form.insisted.data != str(payment.id):
            form.insisted.data = str(payment.id)
            form.reference.errors = [translate(_ODDITIES[each]) for each in odd]
            return None
        return payment

    def _review_page(self, review: Review, form: ResolveForm) -> str:
        return self.show(
            "review.html",
            review=review,
            form=form,
            words=REVIEWS[review.reason],
            status=_status,
        )


_ODDITIES: Mapping[Oddity, str] = {
    Oddity.OTHER_AMOUNT: mark(
        "通知の金額が、この支払いの金額と違います。それでもよければ、もう一度記録してください。"
    ),
    Oddity.HOLDS_MONEY: mark(
        "この支払いはすでに入金されています。二つ目の払込票への入金でよければ、もう一度記録してください。"
    ),
}


def _needs(review: Review) -> str:
    if review.payment_id is None:
        return translate("どの支払いの通知かを、注文番号で入力してください。")
    return translate("この支払いにはまだ申し込みがないため、入金として扱えません。")


def _parked_asked(session: Session, asked: Asked) -> Iterator[sa.ColumnElement[bool]]:
    state = DeliveryState(asked.chosen["state"]) if "state" in asked.chosen else DeliveryState.PARKED
    yield Delivery.state == state
    if asked.since is not None or asked.until is not None:
        yield Delivery.event_id.in_(sa.select(Event.id).where(*within_days(session, Event, asked)))
    if "kind" in asked.chosen:
        yield Delivery.event_id.in_(sa.select(Event.id).where(Event.kind == EventKind(asked.chosen["kind"])))
    if asked.text:
        of_payments = sa.select(Event.id).where(_of_payments(Event.payment_id, session, asked.text))
        yield sa.or_(Delivery.subscriber == asked.text, Delivery.event_id.in_(of_payments))


def _parked_states() -> Mapping[str, str]:
    return {each.value: label(each) for each in (DeliveryState.PARKED, DeliveryState.DISMISSED)}


class Decision(StrEnum):
    """What can be done with what was given up on."""

    RETRY = "retry"
    DISMISS = "dismiss"


class ParkedPage(ListPage):
    template = "parked.html"
    listing = Listing(
        model=Delivery,
        columns=(
            Column("id", mark("番号"), lambda each: each.id, "text", Delivery.id),
            Column("subscriber", mark("処理の名前"), lambda each: each.subscriber),
            Column(
                "kind",
                mark("出来事の種類"),
                lambda each: each.event.kind,
                "state",
                link=lambda each: ("zeus_cvs_events.one_event", each.event_id),
            ),
            Column("occurred", mark("発生"), lambda each: each.event.occurred_at, "moment"),
            Column(
                "payment",
                mark("ショップの注文番号"),
                lambda each: _reference(each.event),
                link=lambda each: _to_payment(each.event),
            ),
            Column("attempts", mark("試した回数"), lambda each: each.attempts, "number", Delivery.attempts),
            Column("error", mark("最後のエラー"), lambda each: each.last_error, "long"),
            Column("state", mark("状態"), lambda each: each.state, "state", shown=False),
            Column("by", mark("判断した人"), lambda each: each.decided_by),
        ),
        choices=(
            Choice("state", mark("状態"), _parked_states, default=DeliveryState.PARKED),
            Choice("kind", mark("出来事の種類"), lambda: options(EventKind)),
        ),
        narrow=_parked_asked,
        hint=mark("注文番号・オーダー番号・処理の名前"),
        load=(joinedload(Delivery.event).joinedload(Event.payment).lazyload(Payment.applications),),
    )

    def __init__(self, access: Access, category: Translated | None = None) -> None:
        super().__init__(access, mark("保留"), "parked", category)

    @route("/decide", "GET", "POST")
    def decide(self) -> ResponseReturnValue:
        """Ask once more about the deliveries that were ticked, then have them tried again or given up."""
        try:
            what = Decision(request.args.get("what", ""))
        except ValueError:
            abort(404)
        ids = sorted({each for each in request.args.getlist("id", type=int) if each <= LARGEST_ID})[
            :MOST_AT_ONCE
        ]
        if not ids:
            return self.go(".index", translate("先に、一覧で選んでください。"))
        form = DecisionForm(self.access.person())
        if request.method == "POST" and form.validate():
            return self._decided(what, ids, form.name)
        query = (
            sa.select(Delivery).where(Delivery.id.in_(ids)).order_by(Delivery.id).options(*self.listing.load)
        )
        rows = self.read(lambda session: list(session.scalars(query)))
        page = self.show("decide.html", what=what, ids=ids, rows=rows, form=form)
        return page, 422 if form.complaints else 200

    def _decided(self, what: Decision, ids: list[int], by: str) -> ResponseReturnValue:
        verb = {Decision.RETRY: self.payments.retry, Decision.DISMISS: self.payments.dismiss}[what]
        count = 0
        for each in ids:
            try:
                count += verb(str(each), by=by)
            except UnknownDelivery:  # somebody else was faster
                continue
        if what is Decision.RETRY:
            return self.go(".index", translate("{count}件をもう一度行います。", count=count))
        return self.go(".index", translate("{count}件を取りやめました。", count=count))
