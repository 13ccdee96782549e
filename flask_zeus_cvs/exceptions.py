"""Every error that Flask-Zeus-CVS raises on purpose, drawn as a tree.

::

    ZeusCVSError
    ├── ConfigurationError        a setting, or how the extension is wired, is wrong
    ├── InvalidAmount             (ValueError) an amount that ZEUS does not take
    ├── InvalidField              (ValueError) one value breaks the manual's rule for its field
    ├── InvalidCustomer           (ValueError) one or more of the customer's details do
    ├── NotPayable                the payment takes no further application
    ├── PendingWorkError          the caller's open transaction is in the way
    ├── CreatedMeanwhile          another worker created the payment, which the caller's transaction cannot see
    ├── DatabaseAway              the database did not answer in time
    ├── UnknownReview             (LookupError) there is no such review
    ├── NotResolvable             (ValueError) a decision needs to be told more
    ├── UnknownDelivery           (LookupError) no delivery that waits for a person is called so
    ├── LeaseLost                 a receiver took so long that another worker took its delivery over
    ├── UnreadableNotice          they broke the rules: a notice that cannot be acted on
    ├── UnreadableStatement       (ValueError) a list of ZEUS's screen that cannot be read
    ├── GatewayError
    │   ├── NotSent               nothing reached ZEUS; it is safe to apply again
    │   └── Unanswered            ZEUS may have registered the application; nobody knows
    ├── UnknownApplication        (LookupError) the sandbox has no application with this order_no
    └── VerbRefused               what a test asked of the sandbox cannot happen now

No message holds personal data: a value that a customer typed appears in none of them.
"""

from __future__ import annotations

from collections.abc import Iterable


class ZeusCVSError(Exception):
    """The root of the tree: catch it to catch whatever this package raises on purpose."""


class ConfigurationError(ZeusCVSError):
    """A setting is wrong; the message names the key, what is wrong with it, and the cure."""


class InvalidAmount(ZeusCVSError, ValueError):
    """The amount is not a whole number of yen from 200 to 299,999."""


class InvalidField(ZeusCVSError, ValueError):
    """The value of one field breaks the manual's rule for it.

    ``field`` is the wire name (``telno``), ``problem`` a ``protocol.fields.Problem``, and ``detail`` the
    character or the limit that is wrong. ``detail`` may be a character that a customer typed, so the
    message leaves it out.
    """

    def __init__(self, field: str, problem: str, detail: str = "") -> None:
        super().__init__(f"{field} breaks its rule: {problem}")
        self.field = field
        self.problem = problem
        self.detail = detail


class InvalidCustomer(ZeusCVSError, ValueError):
    """One or more of the customer's details cannot be sent; ``problems`` has an `InvalidField` for each."""

    def __init__(self, problems: Iterable[InvalidField]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "cannot be sent: " + ", ".join(f"{each.field} ({each.problem})" for each in self.problems)
        )


class NotPayable(ZeusCVSError):
    """The payment takes no further application; ``obstacle`` says why (``payments.Obstacle``)."""

    def __init__(self, obstacle: str) -> None:
        super().__init__(f"the payment takes no further application: {obstacle}")
        self.obstacle = obstacle


class PendingWorkError(ZeusCVSError):
    """The caller's own open transaction would lock this call out, or hides the payment from it: commit first."""


class CreatedMeanwhile(ZeusCVSError):
    """At repeatable read: the payment of this reference is there, and the caller's transaction cannot see it."""

    def __init__(self) -> None:
        super().__init__(
            "Another worker created a payment of this reference after your transaction began, which is at an isolation "
            "level that cannot see it. Call db.session.rollback(), then create_payment again: it returns that payment."
        )


class DatabaseAway(ZeusCVSError):
    """The database did not answer in time; whether the work is stored nobody knows."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the database gave no answer within {seconds:.0f} seconds")
        self.seconds = seconds


class UnknownReview(ZeusCVSError, LookupError):
    """There is no review with this id."""

    def __init__(self, review_id: int) -> None:
        super().__init__(f"there is no review {review_id}")
        self.review_id = review_id


class NotResolvable(ZeusCVSError, ValueError):
    """The decision needs to be told more: the message says what."""


class UnknownDelivery(ZeusCVSError, LookupError):
    """No delivery that waits for a person is called so; ``which`` is what was asked for."""

    def __init__(self, which: str) -> None:
        super().__init__(f"nothing that is parked or waits for its receiver is called {which!r}")
        self.which = which


class LeaseLost(ZeusCVSError):
    """A receiver took longer than its lease, and another worker took the delivery over: its writes are undone."""

    def __init__(self) -> None:
        super().__init__(
            "the receiver took longer than its lease, so another process took the delivery over, and what this one "
            "wrote is undone; give the calls that it makes a time-out"
        )


class UnreadableNotice(ZeusCVSError):
    """A notice that cannot be acted on; ``raw`` keeps its bytes, ``reason`` says which deciding part is wrong."""

    def __init__(self, raw: bytes, reason: str) -> None:
        super().__init__(f"unreadable notice: {reason}")
        self.raw = raw
        self.reason = reason

    def __repr__(self) -> str:
        return f"UnreadableNotice(<{len(self.raw)} bytes>, {self.reason!r})"


class UnreadableStatement(ZeusCVSError, ValueError):
    """A list of ZEUS's screen cannot be read as one; the message says what is wrong and the cure."""


class GatewayError(ZeusCVSError):
    """The conversation with ZEUS failed; the two kinds differ in what may have happened on the other side."""


class NotSent(GatewayError):
    """No byte of the application reached ZEUS: no slip can exist, and applying again is safe."""


class Unanswered(GatewayError):
    """The application may have reached ZEUS, and no whole answer came back: a slip may exist."""


class UnknownApplication(ZeusCVSError, LookupError):
    """The sandbox has no application with this order_no."""

    def __init__(self, order_no: str) -> None:
        super().__init__(f"no application has the order_no {order_no!r}: see Simulator.applications")
        self.order_no = order_no


class VerbRefused(ZeusCVSError):
    """The verb cannot happen to this application of the sandbox now; ``reason`` says why."""

    def __init__(self, verb: str, order_no: str, reason: str) -> None:
        super().__init__(f"cannot {verb} {order_no}: {reason}")
        self.verb = verb
        self.order_no = order_no
        self.reason = reason
