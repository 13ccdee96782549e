"""What must become of a payment: every order of its notices, played through the table.

The rules that surround the table (law 12 and the money that differs) are told here once more, and not by the code
under test. An outcome that no order leads to is wrong; so is one of several outcomes without a review.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from flask_zeus_cvs.lifecycle import AFTER_CANCEL, HOLDS_MONEY, TABLE, Input, State

#: A slip in one of these is no longer the one that a further re-issue replaces.
REPLACED = frozenset(
    {
        State.SUPERSEDED,
        State.RECEIVED_AFTER_CANCEL,
        State.CONFIRMED_AFTER_CANCEL,
        State.CANCELLED_AFTER_CANCEL,
    }
)


@dataclass(frozen=True)
class Told:
    """One distinct notice. ``ours``: it carries the payment's sendid; ``money`` None: it is not told."""

    status: str
    order_no: str
    ours: bool
    money: int | None


@dataclass(frozen=True)
class Slip:
    """One application: its order number, blank while nobody knows it, and its state."""

    order_no: str
    state: State


@dataclass(frozen=True)
class Life:
    """A payment as it stands; ``take`` gives the next one."""

    amount: int
    slips: tuple[Slip, ...]
    #: Notices of an order number that nobody knows yet.
    waiting: tuple[Told, ...] = ()
    reviewed: bool = False
    taken_back: bool = False

    def take(self, told: Told) -> Life:
        if told.ours or told.order_no in {slip.order_no for slip in self.slips}:
            return self._apply(told)
        return replace(self, waiting=(*self.waiting, told))

    def _apply(self, told: Told) -> Life:
        if told.money not in (None, self.amount):
            return replace(self, reviewed=True)
        before = {slip.order_no for slip in self.slips}
        life, index = self._find(told)
        life = life._step(index, Input(told.status))
        number = life.slips[index].order_no
        return life if number in before else life._take_waiting(number)

    def _take_waiting(self, order_no: str) -> Life:
        ready = [told for told in self.waiting if told.order_no == order_no]
        life = replace(self, waiting=tuple(told for told in self.waiting if told not in ready))
        for told in ready:
            life = life._apply(told)
        return life

    def _find(self, told: Told) -> tuple[Life, int]:
        """Find, bind or add the slip that a notice speaks of; with it, what that did to the others."""
        numbers = [slip.order_no for slip in self.slips]
        old_slip = Input(told.status) in AFTER_CANCEL
        if not told.order_no:
            return self, max(self._standing() or range(len(self.slips)))
        if told.order_no in numbers:
            return self, numbers.index(told.order_no)
        if "" in numbers and not old_slip:
            index = max(index for index, number in enumerate(numbers) if not number)
            return self._with(index, Slip(told.order_no, self.slips[index].state)), index
        life, new = self, Slip(told.order_no, State.UNKNOWN)
        if not old_slip and self._standing():
            life = self._step(max(self._standing()), Input.SUPERSEDED)
        return replace(life, slips=(*life.slips, new)), len(self.slips)

    def _standing(self) -> list[int]:
        return [index for index, slip in enumerate(self.slips) if slip.state not in REPLACED]

    def _with(self, index: int, slip: Slip) -> Life:
        return replace(self, slips=(*self.slips[:index], slip, *self.slips[index + 1 :]))

    def _step(self, index: int, given: Input) -> Life:
        slip = self.slips[index]
        cell = TABLE[slip.state, given]
        after = cell.state or slip.state
        paid = after in HOLDS_MONEY and slip.state not in HOLDS_MONEY
        twice = any(each.state in HOLDS_MONEY for each in self.slips)
        return replace(
            self._with(index, Slip(slip.order_no, after)),
            reviewed=self.reviewed or cell.review or (paid and (twice or self.taken_back)),
            taken_back=self.taken_back or after is State.CANCELLED,
        )


@dataclass(frozen=True)
class Outcome:
    """Where one order of the notices leads: the state of each slip, and whether a person must look."""

    slips: frozenset[tuple[str, State]]
    reviewed: bool


@cache
def outcomes(life: Life, notices: frozenset[Told]) -> frozenset[Outcome]:
    """Where all orders of the notices lead. What several orders have in common is played once."""
    return frozenset(
        Outcome(frozenset((slip.order_no, slip.state) for slip in end.slips), end.reviewed)
        for end in _ends(life, notices)
    )


def _ends(life: Life, notices: Iterable[Told]) -> set[Life]:
    played: dict[frozenset[Told], set[Life]] = {frozenset(): {life}}
    for _ in (every := tuple(notices)):
        further: dict[frozenset[Told], set[Life]] = {}
        for taken, lives in played.items():
            for told in set(every) - taken:
                further.setdefault(taken | {told}, set()).update(each.take(told) for each in lives)
        played = further
    (ends,) = played.values()
    return ends
