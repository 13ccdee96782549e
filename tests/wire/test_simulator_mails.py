"""The sandbox's mails: each of the eleven kinds, to whom, when, in which form; and handed to a real mail server."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.simulator import Mail, MailKind, Simulator
from flask_zeus_cvs.simulator.clock import JST
from flask_zeus_cvs.simulator.ledger import INFO
from flask_zeus_cvs.simulator.mails import MAILS, is_carrier
from tests.wire.simulator_peers import Ear, Listener, apply, eventually, order_no_of

START = datetime(2026, 11, 24, 9, tzinfo=JST)
OOPS = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

#: What leads to each kind: changes of the application and verbs; `-` is the old slip of a re-issue.
WAYS: dict[MailKind, tuple[dict[str, bytes], str]] = {
    MailKind.CUSTOMER: ({}, ""),
    MailKind.CUSTOMER_CARRIER: ({"email": b"hanako%40docomo.ne.jp"}, ""),
    MailKind.APPLICATION_COMPLETED: ({}, ""),
    MailKind.APPLICATION_FAILED: ({}, "fail"),
    MailKind.PAYMENT_RECEIVED: ({}, "pay"),
    MailKind.SALE_CONFIRMED: ({}, "pay confirm"),
    MailKind.PAYMENT_CANCELLED: ({}, "pay cancel"),
    MailKind.RECEIVED_AFTER_CANCEL: ({}, "reissue pay"),
    MailKind.CONFIRMED_AFTER_CANCEL: ({}, "reissue pay confirm"),
    MailKind.CANCELLED_AFTER_CANCEL: ({}, "reissue pay cancel"),
    MailKind.CALL_FAILED: ({}, "oops"),
}


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as listening:
        yield listening


@pytest.fixture
def zeus(ear: Ear) -> Iterator[Simulator]:
    with Simulator(ear.url, clock=lambda: START) as simulator:
        yield simulator


def applied(zeus: Simulator, **changes: bytes | None) -> str:
    return order_no_of(apply(zeus.url, **changes))


def kinds(zeus: Simulator) -> list[str]:
    return [mail.kind for mail in zeus.mails]


def newest(zeus: Simulator, kind: MailKind) -> Mail:
    return [mail for mail in zeus.mails if mail.kind is kind][-1]


@pytest.mark.parametrize("kind", list(MailKind))
def test_each_of_the_eleven(zeus: Simulator, ear: Ear, kind: MailKind) -> None:
    """To whom it belongs, at the time it belongs to, with a subject of its own, and not said to be from ZEUS."""
    changes, way = WAYS[kind]
    if way == "fail":
        zeus.answer_next(error_code="0008")
        apply(zeus.url, **changes)
        order_no = zeus.applications[0].order_no
    else:
        if way == "oops":
            ear.answers.append(OOPS)
        order_no = applied(zeus, **changes)
    for verb in way.split():
        if verb not in {"fail", "oops"}:
            getattr(zeus, verb)(order_no)
    zeus.settle()
    mail = newest(zeus, kind)
    customer = kind in {MailKind.CUSTOMER, MailKind.CUSTOMER_CARRIER}
    assert mail.to == (zeus.applications[0].email if customer else "shop@example.jp")
    assert (mail.order_no, mail.at) == (order_no, START)
    assert mail.subject.startswith("【サンドボックス】")
    assert "これはZEUSではなくサンドボックスのメールです" in mail.text.splitlines()[-1]
    assert "3,000円" in mail.text
    if not customer:
        assert f"オーダー番号: {order_no}" in mail.text


def test_every_kind_is_known() -> None:
    """Eleven: two to the customer, eight to the shop, one about calls; each with a way above and a name."""
    assert set(MAILS) == set(WAYS) == set(MailKind)
    assert len(MailKind) == 11
    assert len({info.name for info in MAILS.values()}) == 11


def test_who_gets_a_mail_of_each_status(zeus: Simulator) -> None:
    """By the manual's table: 03 and the two without a code send none, 01 goes to the customer too."""
    expected = {
        "01": ["customer", "application_completed"],
        "02": ["application_failed"],
        "03": [],
        "04": ["payment_received"],
        "05": ["sale_confirmed"],
        "06": ["payment_cancelled"],
        "cancelled": [],
        "11": ["received_after_cancel"],
        "12": ["confirmed_after_cancel"],
        "13": ["cancelled_after_cancel"],
        "stopped": [],
    }
    assert set(expected) == {str(each) for each in INFO}
    zeus.answer_next(error_code="0013")
    apply(zeus.url)
    assert kinds(zeus) == expected["02"]
    first, second, third, fourth, fifth = (applied(zeus) for _ in range(5))
    assert kinds(zeus)[1:] == expected["01"] * 5
    before = len(zeus.mails)
    for verb, order_no, status in [
        ("pay", first, "04"),
        ("confirm", first, "05"),
        ("pay", second, "04"),
        ("cancel", second, "06"),
        ("expire", third, "03"),
    ]:
        getattr(zeus, verb)(order_no)
        assert kinds(zeus)[before:] == expected[status], status
        before = len(zeus.mails)
    zeus.reissue(fourth)
    assert kinds(zeus)[before:] == expected["01"], "of the new slip alone"
    zeus.reissue(zeus.applications[-1].order_no)
    before = len(zeus.mails)
    for verb, order_no, status in [
        ("pay", fourth, "11"),
        ("confirm", fourth, "12"),
        ("pay", zeus.application(fourth).replaced_by, "11"),
        ("cancel", zeus.application(fourth).replaced_by, "13"),
    ]:
        getattr(zeus, verb)(order_no)
        assert kinds(zeus)[before:] == expected[status], status
        before = len(zeus.mails)
    zeus.stop_service()
    zeus.pay(fifth)
    assert kinds(zeus)[before:] == expected["stopped"]


CARRIER = [
    ("hanako@docomo.ne.jp", True),
    ("HANAKO@DOCOMO.NE.JP", True),
    ("hanako@mail.docomo.ne.jp", True),
    ("foo..bar.@ezweb.ne.jp", True),
    ("hanako@xyz.ezweb.ne.jp", True),
    ("hanako@au.com", True),
    ("hanako@softbank.ne.jp", True),
    ("hanako@i.softbank.jp", True),
    ("hanako@d.vodafone.ne.jp", True),
    ("hanako@ymobile.ne.jp", True),
    ("hanako@notdocomo.ne.jp", False),
    ("hanako@docomo.ne.jp.example.com", False),
    ("docomo.ne.jp@example.jp", False),
    ("hanako@softbank.jp", False),
    ("hanako@example.jp", False),
]


@pytest.mark.parametrize(("address", "carrier"), CARRIER)
def test_carriers_customers_get_the_shorter_mail(zeus: Simulator, address: str, carrier: bool) -> None:
    """By the domain, whatever its case, subdomains too; domains that only look alike do not count."""
    assert is_carrier(address) is carrier
    applied(zeus, email=address.replace("@", "%40").encode())
    [mail] = [mail for mail in zeus.mails if mail.to == address]
    assert mail.kind is (MailKind.CUSTOMER_CARRIER if carrier else MailKind.CUSTOMER)


def test_the_carrier_form_is_shorter_and_says_the_same(zeus: Simulator) -> None:
    """Numbers by the store's own names, amount, deadline, where to ask."""
    applied(zeus)
    applied(zeus, email=b"hanako%40docomo.ne.jp")
    long, short = newest(zeus, MailKind.CUSTOMER), newest(zeus, MailKind.CUSTOMER_CARRIER)
    assert len(short.text) < len(long.text)
    for mail in (long, short):
        for each in (
            f"受付番号: {mail.application.pay_no1}",
            f"確認番号: {mail.application.pay_no2}",
            "3,000円",
            "2026年12月04日",
            "0570-08-3000",
        ):
            assert each in mail.text
    assert "ヤマダ　タロウ 様" in long.text


@pytest.mark.parametrize(
    ("store", "labels"),
    [
        (b"D001", ["払込票番号"]),
        (b"D002", ["受付番号", "確認番号"]),
        (b"D030", ["企業コード", "注文番号"]),
        (b"D015", ["お支払受付番号"]),
        (b"D050", ["受付番号", "確認番号"]),
        (b"D060", ["オンライン決済番号"]),
    ],
)
def test_numbers_have_the_stores_names_in_its_order(zeus: Simulator, store: bytes, labels: list[str]) -> None:
    """FamilyMart's machine asks for the company code first; 7-Eleven's customer gets the slip's address."""
    applied(zeus, pay_cvs=store)
    [application] = zeus.applications
    text = newest(zeus, MailKind.CUSTOMER).text
    found = re.findall(r"^(\S+): (\d+)$", text, re.MULTILINE)
    assert [label for label, _ in found] == labels
    assert {number for _, number in found} == {application.pay_no1, application.pay_no2} - {""}
    assert (application.pay_url in text) if store == b"D001" else "http" not in text


def test_the_shops_message_is_in_the_customers_mail(zeus: Simulator) -> None:
    """In both forms; in those that are sent from then on, and in no other."""
    applied(zeus)
    zeus.contract.change({"customer_message": "お茶の店をご利用くださり\nありがとうございます。"})
    order_no = applied(zeus)
    applied(zeus, email=b"hanako%40docomo.ne.jp")
    zeus.pay(order_no)
    told = ["ありがとうございます。" in mail.text.splitlines() for mail in zeus.mails]
    assert told == [False, False, True, False, True, False, False]


@pytest.mark.parametrize("kind", [kind for kind in MailKind if kind is not MailKind.CALL_FAILED])
def test_a_mail_can_be_turned_off(zeus: Simulator, kind: MailKind) -> None:
    """That one, and no other."""
    zeus.contract.change({"mails_off": [kind]})
    changes, way = WAYS[kind]
    if way == "fail":
        zeus.answer_next(error_code="0008")
        apply(zeus.url)
    else:
        order_no = applied(zeus, **changes)
        for verb in way.split():
            getattr(zeus, verb)(order_no)
    assert kind not in kinds(zeus)
    assert bool(zeus.mails) is (kind is not MailKind.APPLICATION_FAILED)


def test_the_mail_about_failed_calls_cannot_be_turned_off(zeus: Simulator, ear: Ear) -> None:
    """It is how a shop learns that it must act; not even by hand."""
    zeus.contract.mails_off = frozenset(MailKind)
    ear.answers.append(OOPS)
    applied(zeus)
    zeus.settle()
    assert kinds(zeus) == ["call_failed"]


def test_where_the_shops_mails_go(zeus: Simulator) -> None:
    """Changed, from then on; the customer's go to the customer."""
    zeus.contract.change({"mail_to": "staff@example.com"})
    applied(zeus)
    assert [mail.to for mail in zeus.mails] == ["hanako@example.jp", "staff@example.com"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (OOPS, "HTTP 500"),
        (OOPS.replace(b"500", b"404"), "HTTP 404"),
        (OOPS.replace(b"500", b"302"), "HTTP 302"),
        (OOPS.replace(b"500", b"204"), "HTTP 204"),
        (None, "時間内に応答がありませんでした"),
        (b"nonsense\r\n", "応答を読み取れませんでした"),
    ],
)
def test_each_call_that_is_not_answered_with_200_is_mailed(ear: Ear, answer: bytes | None, says: str) -> None:
    """CGI送信エラー通知: which status of which application, and what the shop answered."""
    with Simulator(ear.url, notice_timeout=0.5) as zeus:
        order_no = applied(zeus)
        zeus.settle()
        ear.answers.append(answer)
        zeus.pay(order_no)
        zeus.settle()
        mail = zeus.mails[-1]
        assert (mail.kind, mail.order_no) == (MailKind.CALL_FAILED, order_no)
        assert "04 入金済" in mail.text
        assert says in mail.text
        assert mail.call == zeus.calls[-1]
        zeus.resend(order_no)
        zeus.settle()
        assert zeus.calls[-1].delivered
        assert kinds(zeus).count("call_failed") == 1


def test_each_attempt_is_mailed(ear: Ear) -> None:
    """A retry that fails too says which one it was."""
    with Simulator(ear.url, notice_timeout=0.1, clock=lambda: START) as zeus:
        zeus.contract.retries = 1
        ear.answers.extend([None, None])
        applied(zeus)
        zeus.settle()
        zeus.forward("5 minutes")
        zeus.settle()
        assert [mail.call.attempt for mail in zeus.mails if mail.call] == [1, 2]
        assert "2回目" in zeus.mails[-1].text


def test_a_mail_says_what_was_true_when_it_was_sent(zeus: Simulator) -> None:
    """Read later, it is as it was."""
    order_no = applied(zeus)
    before = newest(zeus, MailKind.APPLICATION_COMPLETED).text
    zeus.pay(order_no)
    assert newest(zeus, MailKind.APPLICATION_COMPLETED).text == before


def test_no_repr_of_a_mail_holds_what_a_customer_typed(zeus: Simulator) -> None:
    """Not even in a failing test's output."""
    zeus.contract.customer_message = "Dear Hanako"
    applied(zeus)
    shown = repr(zeus.mails)
    for each in ("ヤマダ", "hanako", "Hanako", "0312345678"):
        assert each not in shown


# A real mail server


class Postbox(Listener):
    """A mail server: takes what it is handed, or refuses it."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__()
        self.taken: list[tuple[str, str, EmailMessage]] = []
        self._refuses = refuses

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def converse(self, connection: socket.socket, caller: str) -> None:
        with connection.makefile("rwb", buffering=0) as line:
            self._take(line)

    def _take(self, line: socket.SocketIO) -> None:
        sender = to = ""
        line.write(b"220 postbox\r\n")
        while command := line.readline():
            word = command[:4].upper()
            if word == b"MAIL":
                sender = _within(command)
            elif word == b"RCPT":
                to = _within(command)
            elif word == b"DATA":
                line.write(b"354 go on\r\n")
                message = message_from_bytes(b"".join(iter(line.readline, b".\r\n")), policy=default)
                self.taken.append((sender, to, message))
            elif word == b"QUIT":
                line.write(b"221 bye\r\n")
                return
            line.write(b"550 no\r\n" if self._refuses and word == b"RCPT" else b"250 ok\r\n")


def _within(command: bytes) -> str:
    return command.partition(b"<")[2].rpartition(b">")[0].decode()


def test_mails_are_handed_to_a_mail_server() -> None:
    """Every one, in order, with Japanese text, and a header that says that it is not ZEUS."""
    with Postbox() as postbox, Simulator(smtp=postbox.address, clock=lambda: START) as zeus:
        order_no = applied(zeus)
        zeus.pay(order_no)
        eventually(lambda: len(postbox.taken) == 3)
        sent = zeus.mails
    assert [to for _, to, _ in postbox.taken] == [mail.to for mail in sent]
    for mail, (sender, _, message) in zip(sent, postbox.taken, strict=True):
        assert (message["Subject"], message["To"]) == (mail.subject, mail.to)
        assert message.get_content().splitlines() == mail.text.splitlines()
        assert message["X-Zeus-CVS-Sandbox"] == "this is not ZEUS"
        assert message["From"].addresses[0].addr_spec == sender == "sandbox@zeus-cvs.invalid"
        assert message["Date"].datetime == START


@pytest.mark.parametrize(
    "address",
    [
        "foo..bar.@docomo.ne.jp",
        ".foo@ezweb.ne.jp",
        "a,b@example.jp",
        "a;b@example.jp",
        "a:b@example.jp",
        "a(b@example.jp",
        'a"b@example.jp',
        "a@b@example.jp",
        "a<b>@example.jp",
        "=?a?=@example.jp",
        "a@[192.0.2.1]",
    ],
)
def test_addresses_that_break_the_rfc_and_are_real(address: str) -> None:
    """Carriers gave such out, and ZEUS takes any symbol: they are mailed as they are."""
    with Postbox() as postbox, Simulator(smtp=postbox.address) as zeus:
        quoted = "".join(f"%{ord(each):02X}" for each in address)
        applied(zeus, email=quoted.encode())
        eventually(lambda: len(postbox.taken) == 2)
    assert [to for _, to, _ in postbox.taken] == [address, "shop@example.jp"]


def test_what_the_server_does_not_take_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged without an address, the next is tried, and the mailbox has it all the same."""
    with Postbox(refuses=True) as postbox, Simulator(smtp=postbox.address) as zeus:
        applied(zeus)
        eventually(lambda: caplog.text.count("was not taken") == 2)
        assert len(zeus.mails) == 2
    assert "hanako" not in caplog.text
    assert postbox.taken == []


def test_a_server_that_is_away_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    """Applications are answered; the end comes at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Simulator(smtp=f"127.0.0.1:{port}") as zeus:
        applied(zeus)
    assert caplog.text.count("was not taken") == 2


def test_what_is_left_is_handed_over_at_the_end() -> None:
    """A script that ends right after its last payment loses no mail."""
    with Postbox() as postbox:
        with Simulator(smtp=postbox.address) as zeus:
            for _ in range(5):
                applied(zeus)
        assert len(postbox.taken) == 10


def test_a_server_that_says_nothing_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many mails are left: one patience is spent on them, not one on each."""
    monkeypatch.setattr("flask_zeus_cvs.simulator.post.PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        zeus = Simulator(smtp=f"127.0.0.1:{silent.getsockname()[1]}").start()
        for _ in range(20):
            applied(zeus)
        began = time.monotonic()
        zeus.stop()
        assert time.monotonic() - began < 10  # 40 mails would take 20 seconds


@pytest.mark.parametrize("server", ["mail", "mail:", ":25", "mail:smtp", "192.0.2.1:25", "[2001:db8::1]:25"])
def test_a_mail_server_is_on_loopback(server: str) -> None:
    """Anything else is refused with the cure, unless it is allowed; nobody is mailed by accident."""
    with pytest.raises(ConfigurationError, match=r"as 127\.0\.0\.1:1025|--allow-remote"):
        Simulator(smtp=server)


def test_statuses_are_those_of_the_table() -> None:
    """Each mail to the shop of a status has the manual's name of it."""
    for info in MAILS.values():
        if info.status and info.kind not in {MailKind.CUSTOMER, MailKind.CUSTOMER_CARRIER}:
            assert info.name == f"{INFO[Status(info.status)].name}のお知らせ"
