"""The sandbox's own pages, in Japanese: the start, the mailbox, the clock, and what an operation test looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for

from flask_zeus_cvs.simulator.clock import JST, duration
from flask_zeus_cvs.simulator.contract import MailKind
from flask_zeus_cvs.simulator.ledger import INFO, SimulatedApplication, Step
from flask_zeus_cvs.simulator.mails import MAILS, Mail
from flask_zeus_cvs.simulator.notices import Call
from flask_zeus_cvs.simulator.post import SENDER, as_message
from flask_zeus_cvs.simulator.search import Page, next_days
from flask_zeus_cvs.simulator.wording import BY
from flask_zeus_cvs.simulator.works import ENDPOINT, Works

#: Applications on the first page; ZEUS's screen has them all.
NEWEST = 8
#: Deadlines that the clock's page offers, and lines in which it says what fell due.
OFFERED = 8
SAID = 200
#: The clock goes no further than this from today.
FURTHEST = timedelta(days=3660)

TOO_FAR = "10年より先へは進められません。"
NO_MOMENT = "日時を入力してください。"
PAST = "いまより後の日時を入力してください。時計は戻せません（「はじめからやり直す」で元の時刻に戻ります）。"
NO_DEADLINE = "この申込の支払期限は、もう過ぎているか、ありません。"

_CUSTOMER = frozenset({MailKind.CUSTOMER, MailKind.CUSTOMER_CARRIER})
_FAILED = frozenset({MailKind.CALL_FAILED})
#: The mailbox's filter: what is shown, and its kinds.
KINDS: Mapping[str, tuple[str, frozenset[MailKind]]] = MappingProxyType(
    {
        "": ("すべて", frozenset(MailKind)),
        "customer": ("お客様あて", _CUSTOMER),
        "shop": ("お店あて", frozenset(MailKind) - _CUSTOMER - _FAILED),
        "failed": ("CGI送信エラー", _FAILED),
    }
)


def make_pages(works: Works) -> Blueprint:
    pages = Blueprint("pages", __name__)
    _add_start(pages, works)
    _add_mailbox(pages, works)
    _add_clock(pages, works)
    return pages


def _add_start(pages: Blueprint, works: Works) -> None:
    @pages.get("/")
    def index() -> str:
        applications = works.ledger.applications
        return render_template(
            "index.html",
            endpoint=works.base_url + ENDPOINT,
            attached=works.sender.attachment is not None,
            applications=applications[: -NEWEST - 1 : -1],
            total=len(applications),
            calls_for=works.sender.calls_for,
        )

    @pages.get("/operation-test")
    def operation_test() -> str:
        tests = [each for each in works.ledger.applications if each.test]
        latest = tests[-1] if tests else None
        return render_template(
            "operation_test.html",
            tests=len(tests),
            latest=latest,
            calls=works.sender.calls_for(latest.order_no) if latest else [],
            mails=[mail for mail in works.mailbox.mails if latest and mail.order_no == latest.order_no],
            open_hours=_is_open(works.clock.now()),
        )


def _is_open(now: datetime) -> bool:
    """Tell whether ZEUS would help with an operation test now; it does not know of public holidays."""
    return now.weekday() < 5 and time(9) <= now.time() < time(17, 30)


# Mailbox


def _add_mailbox(pages: Blueprint, works: Works) -> None:
    @pages.get("/mails")
    def mails() -> str:
        chosen = request.args.get("kind", "")
        chosen = chosen if chosen in KINDS else ""
        order_no = request.args.get("order_no", "").strip()
        found = [
            mail
            for mail in reversed(works.mailbox.mails)
            if mail.kind in KINDS[chosen][1] and (not order_no or mail.order_no == order_no)
        ]
        return render_template(
            "mails.html",
            page=Page.of(found, request.args.get("page", 1, type=int)),
            kinds=KINDS,
            chosen=chosen,
            order_no=order_no,
            names=MAILS,
            to_customer=_CUSTOMER,
        )

    @pages.get("/mails/<int:number>")
    def mail(number: int) -> str:
        return render_template("mail.html", mail=_mail(works, number), sender=SENDER, names=MAILS)

    @pages.get("/mails/<int:number>.eml")
    def raw_mail(number: int) -> Response:
        body = as_message(_mail(works, number)).as_bytes()
        name = f'attachment; filename="mail-{number}.eml"'
        return Response(body, content_type="message/rfc822", headers={"Content-Disposition": name})


def _mail(works: Works, number: int) -> Mail:
    mails = works.mailbox.mails
    if not 1 <= number <= len(mails):
        abort(HTTPStatus.NOT_FOUND, "there is no mail of this number")
    return mails[number - 1]


# Clock


@dataclass(frozen=True)
class Fell:
    """Something that fell due by the clock: a step of an application, or a call that was repeated."""

    at: datetime
    application: SimulatedApplication
    step: Step | None = None
    call: Call | None = None


def _add_clock(pages: Blueprint, works: Works) -> None:
    def shown(problem: str = "", **more: Any) -> str:
        applications = works.ledger.applications
        return render_template(
            "clock.html",
            problem=problem,
            coming=next_days(applications, OFFERED),
            by=BY,
            info=INFO,
            **more,
        )

    @pages.get("/clock")
    def clock() -> str:
        since, until = (_moment(request.args.get(name, "")) for name in ("since", "until"))
        if since is None or until is None:
            return shown()
        fell = _fell_due(works, since, until)
        back = own_path(request.args.get("back", ""))
        return shown(since=since, until=until, fell=fell[:SAID], more=len(fell) - SAID, back=back)

    @pages.post("/clock")
    def move() -> Any:
        before = works.clock.now()
        try:
            step = _step(works, before)
        except ValueError as error:
            return shown(str(error), typed=request.form.get("to", "")), 422
        if works.clock.moved + step > FURTHEST:
            return shown(TOO_FAR, typed=request.form.get("to", "")), 422
        works.clock.forward(step)
        since, until = before.isoformat(), works.clock.now().isoformat()
        back = own_path(request.form.get("back", ""))
        return redirect(url_for("pages.clock", since=since, until=until, back=back), HTTPStatus.SEE_OTHER)


def here() -> str:
    """Say where the clock's buttons lead back to: this page, and from the clock's own whence one came."""
    if request.endpoint in {"pages.clock", "pages.move"}:
        return own_path(request.values.get("back", "")) or ""
    return request.full_path.rstrip("?") if request.method == "GET" else ""


def own_path(path: str) -> str | None:
    """Return a path of this site, None for what might lead to another one."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain else None


def _step(works: Works, now: datetime) -> timedelta:
    """Read how far the clock is to go. Raises `ValueError` with what is said beside the field."""
    form = request.form
    if "deadline" in form:
        deadline = works.ledger.get(form["deadline"]).deadline
        if deadline is None or deadline <= now:
            raise ValueError(NO_DEADLINE)
        return deadline - now
    if "to" in form:
        moment = _moment(form["to"])
        if moment is None:
            raise ValueError(NO_MOMENT)
        if moment < now.replace(second=0, microsecond=0):
            raise ValueError(PAST)
        return max(moment - now, timedelta())
    if form.get("step") == "next day":
        return works.clock.next_midnight() - now
    try:
        return duration(form.get("step", ""))
    except ValueError:
        raise ValueError(NO_MOMENT) from None


def _moment(text: str) -> datetime | None:
    """Read a moment; in Japan, where it has no zone. None for what is none, or beyond the calendar's ends."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=JST) if moment.tzinfo is None else moment.astimezone(JST)
    except (ValueError, OverflowError):
        return None


#: What comes about by the clock alone.
_BY_CLOCK = frozenset({"deadline", "head office", "test"})


def _fell_due(works: Works, since: datetime, until: datetime) -> list[Fell]:
    """Return what fell due between two moments, in order."""
    steps = [
        Fell(step.at, each, step=step)
        for each in works.ledger.applications
        for step in each.history
        if step.by in _BY_CLOCK and since < step.at <= until
    ]
    repeated = [
        Fell(call.at, works.ledger.get(call.order_no), call=call)
        for call in works.sender.calls
        if call.attempt > 1 and call.at and since < call.at <= until
    ]
    return sorted(steps + repeated, key=lambda each: each.at)
