"""What is played: payments, the notices of each, and the calls in which they come, all drawn from one seed."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flask_zeus_cvs.lifecycle import State
from tests.torture.model import Life, Slip, Told

CLIENT_IP = "1234567890"
#: Money that is never a payment's own.
WRONG_AMOUNTS = (1, 777, 999_999)
#: The most notices that one payment gets: all their orders are played.
LONGEST = 8
#: Of all calls: repeats; of all messages: orders that nobody knows; of all calls: hung up on before the answer.
REPEATS, STRAYS, CUTS = 0.1, 0.02, 0.02
#: Of all payments: those whose notices come all at once.
AT_ONCE = 0.2

_ORDINARY = (("01",), ("01", "04"), ("01", "04", "05"), ("01", "04", "05"), ("01", "04", "06"), ("01", "03"))
_REISSUED = (("01",), ("01", "04"), ("01", "04", "05"), ("04", "06"), ("05",))
_AFTER_CANCEL = ("11", "12", "13")
_ALL = ("01", "02", "03", "04", "05", "06", *_AFTER_CANCEL)


@dataclass(frozen=True)
class Charge:
    """One payment with its first application, and the distinct notices that come for it."""

    reference: str
    amount: int
    sendid: str
    state: State
    #: Of the application as it stands before the first notice; blank: the answer to it was lost.
    order_no: str
    notices: frozenset[Told] = frozenset()

    @property
    def life(self) -> Life:
        return Life(self.amount, (Slip(self.order_no, self.state),))


@dataclass(frozen=True)
class Message:
    """One distinct notice on its way; ``charge`` None: nobody knows its order."""

    number: int
    told: Told
    charge: Charge | None = None

    @property
    def key(self) -> tuple[str, str, int | None]:
        """What makes it distinct (law 6): the order's number or the sendid, the status, the money."""
        return self.told.order_no or f"sendid:{self.sendid}", self.told.status, self.told.money

    @property
    def sendid(self) -> str:
        return self.charge.sendid if self.charge is not None and self.told.ours else ""


@dataclass(frozen=True)
class Call:
    """One spelling of a message, and how it is sent: ``together`` with others of the same volley, or alone."""

    message: Message
    post: bool
    form: bytes
    together: int = 1
    #: Hang up before the answer is read.
    cut: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that a run plays."""

    charges: tuple[Charge, ...]
    messages: tuple[Message, ...]
    calls: tuple[Call, ...]


def plan(seed: int, notices: int, payments: int) -> Plan:
    """Draw ``notices`` calls for ``payments`` payments, three to five for each; a seed always gives the same."""
    dice = random.Random(f"lives {seed}")
    distinct = round(notices * (1 - REPEATS))
    strays = max(2, round(distinct * STRAYS))
    charges = _charges(dice, payments, distinct - strays)
    told: list[tuple[Told, Charge | None]]
    told = [(told, charge) for charge in charges for told in sorted(charge.notices, key=_spelled_out)]
    told += [(Told("04", f"9{number:04d}-z", False, 3000), None) for number in range(strays)]
    messages = tuple(Message(number, *each) for number, each in enumerate(told))
    return Plan(tuple(charges), messages, tuple(_calls(dice, messages, notices)))


# Payments and their notices


def _charges(dice: random.Random, payments: int, wanted: int) -> list[Charge]:
    """Draw the payments; those of odd lives get as many notices as are missing in all."""
    charges = [_charge(dice, number) for number in range(payments)]
    odd = range(payments * 2 // 5, payments)
    for index in set(range(payments)) - set(odd):
        charges[index] = _told(charges[index], _ordinary(dice, charges[index], number=index))
    while (missing := wanted - sum(len(charge.notices) for charge in charges)) > 0:
        for index in dice.choices(odd, k=missing):
            if len(charges[index].notices) < LONGEST:
                charges[index] = _told(charges[index], [_odd(dice, charges[index], number=index)])
    return charges


def _charge(dice: random.Random, number: int) -> Charge:
    known = dice.random() < 0.7
    return Charge(
        reference=f"A-{number}",
        amount=dice.randrange(200, 300_000),
        sendid=_named("S{:05d}x", number),
        state=State.AWAITING_PAYMENT if known else dice.choice((State.UNKNOWN, State.SUBMITTING)),
        order_no=_order_no(number) if known else "",
    )


def _named(form: str, number: int) -> str:
    """Name every tenth as the one before it, but for the case of its letters: a name is compared exactly."""
    return form.format(number - 1).upper() if number % 10 == 9 else form.format(number)


def _order_no(number: int) -> str:
    return _named("{:05d}-a", number)


def _told(charge: Charge, notices: Sequence[Told]) -> Charge:
    return replace(charge, notices=_allowed(charge, charge.notices.union(notices)))


def _allowed(charge: Charge, notices: frozenset[Told]) -> frozenset[Told]:
    """Leave one notice of each key, and out what the design lets depend on the order without a review.

    While an order number is not known, these are: 02 beside 03, and 11 to 13 with a sendid.
    """
    distinct = {(told.order_no, told.status, told.money): told for told in sorted(notices, key=_spelled_out)}
    if charge.order_no:
        return frozenset(distinct.values())
    failed = any(told.status == "02" for told in distinct.values())
    return frozenset(
        told
        for told in distinct.values()
        if not (told.status == "03" and failed) and not (told.status in _AFTER_CANCEL and told.ours)
    )


def _ordinary(dice: random.Random, charge: Charge, number: int) -> list[Told]:
    order_no = "" if dice.random() < 0.05 else _order_no(number)
    ours = not order_no or dice.random() < 0.8
    return [Told(status, order_no, ours, charge.amount) for status in dice.choice(_ORDINARY)]


def _odd(dice: random.Random, charge: Charge, number: int) -> Told:
    """Draw one more notice: any status, money as it may be, of the slip or now and then of its re-issue."""
    order_no = _order_no(number)
    money: int | None = charge.amount
    if dice.random() < 0.15:
        money = dice.choice((None, *WRONG_AMOUNTS))
    if charge.order_no and number % 5 == 0 and dice.random() < 0.4:
        return Told(dice.choice(dice.choice(_REISSUED)), f"{order_no}.2", True, money)
    return Told(dice.choice(_ALL), order_no, dice.random() < 0.6, money)


def _spelled_out(told: Told) -> tuple[str, ...]:
    return told.order_no, told.status, str(told.money), str(told.ours)


# Calls


def _calls(dice: random.Random, messages: Sequence[Message], notices: int) -> Iterator[Call]:
    """Put all messages into a random order, with repeats: some at the same moment, the others later."""
    volleys = [1] * len(messages)
    for number in _repeated(dice, messages, notices - len(messages)):
        volleys[number] += 1
    placed: list[tuple[float, Call]] = []
    for message, at, times in zip(messages, _moments(dice, messages), volleys, strict=True):
        together = times if message.charge is None or dice.random() < 0.4 else 1
        placed += [(at, Call(message, False, b"", together))] * together
        placed += [(dice.uniform(at, 1), Call(message, False, b"")) for _ in range(times - together)]
    placed.sort(key=lambda each: each[0])
    hung_up = set(dice.sample(range(len(placed)), max(1, round(len(placed) * CUTS))))
    for index, (_, call) in enumerate(placed):
        yield replace(call, post=dice.random() < 0.5, form=_form(dice, call.message), cut=index in hung_up)


def _moments(dice: random.Random, messages: Sequence[Message]) -> Iterator[float]:
    """Draw when each message comes first; those of some payments come one right after the other, so side by side."""
    shared: dict[Charge | None, float] = {}
    for message in messages:
        if message.charge not in shared:
            shared[message.charge] = dice.random() if message.charge and dice.random() < AT_ONCE else -1
        moment = shared[message.charge]
        yield dice.random() if moment < 0 else moment + dice.random() * 1e-9


def _repeated(dice: random.Random, messages: Sequence[Message], wanted: int) -> Iterator[int]:
    """Choose what is repeated; what nobody knows, half of the time and by several at once."""
    strays = [message.number for message in messages if message.charge is None]
    several = [number for number in strays[::2] for _ in range(3)][:wanted]
    yield from several
    yield from dice.choices(range(len(messages)), k=wanted - len(several))


def _form(dice: random.Random, message: Message) -> bytes:
    """Spell a message: order of the parameters, upper and lower case of hex digits, and which are sent at all."""
    told = message.told
    fields: dict[str, bytes] = {"status": told.status.encode(), "clientip": CLIENT_IP.encode()}
    if told.order_no:
        fields["order_no"] = told.order_no.encode()
    if message.sendid:
        fields["sendid"] = message.sendid.encode()
    if told.money is not None:
        fields["money"] = str(told.money).encode()
    if dice.random() < 0.5:
        fields |= {"username": b"\x83\x84\x83\x7d\x83\x5f", "pay_limit": b"20991231", "error_code": b""}
    pairs = [f"{name}={_escaped(dice, value)}" for name, value in fields.items()]
    dice.shuffle(pairs)
    return "&".join(pairs).encode("ascii")


#: What is never escaped by a sender that escapes only what it must.
_PLAIN = frozenset(b"-." + string.ascii_letters.encode() + string.digits.encode())


def _escaped(dice: random.Random, value: bytes) -> str:
    hexed = dice.choice(("%{:02x}", "%{:02X}"))
    plain = frozenset[int]() if dice.random() < 0.2 else _PLAIN
    return "".join(chr(byte) if byte in plain else hexed.format(byte) for byte in value)
