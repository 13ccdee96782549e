"""`Simulator`: ZEUS's side of the wire in one object, for tests and for looking at by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.simulator import gateway, notices
from flask_zeus_cvs.simulator.adapter import SandboxAdapter
from flask_zeus_cvs.simulator.clock import duration, japan_now
from flask_zeus_cvs.simulator.contract import Contract
from flask_zeus_cvs.simulator.ledger import SimulatedApplication, Verb
from flask_zeus_cvs.simulator.mails import Mail
from flask_zeus_cvs.simulator.notices import LIMIT, Attachment, Call, is_loopback
from flask_zeus_cvs.simulator.post import Postman
from flask_zeus_cvs.simulator.script import Switch
from flask_zeus_cvs.simulator.server import Server
from flask_zeus_cvs.simulator.site import make_app
from flask_zeus_cvs.simulator.works import ENDPOINT, NOWHERE, Works

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Seconds between two looks at what has fallen due while nobody asks.
LOOK = 0.5
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Simulator:
    """A gateway, the stores' counters and the notices, over real HTTP on loopback. It is not ZEUS.

    ::

        with Simulator(notify="http://127.0.0.1:5000/zeus-cvs/callback") as zeus:
            app.config["ZEUS_CVS_ENDPOINT"] = zeus.endpoint
            ...                                   # the shop applies
            order_no = zeus.applications[-1].order_no
            zeus.pay(order_no)                    # 04
            zeus.confirm(order_no)                # 05
            zeus.settle()                         # the shop has answered both

    Safe for threads. Everything it knows is gone with the object.
    """

    def __init__(
        self,
        notify: str | None = None,
        *,
        listen: bool = True,
        port: int = 0,
        clientip: str = "1234567890",
        testid: str = "12345678",
        host: str = "127.0.0.1",
        allow_remote: bool = False,
        public_url: str | None = None,
        notice_timeout: float = LIMIT,
        clock: Callable[[], datetime] = japan_now,
        smtp: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Prepare; nothing listens yet.

        `notify` is where the shop takes notices; without it none is sent. `listen=False`: no socket at all, see
        `adapter` and `attach`. `port` 0 takes a free one. `notice_timeout`: seconds the shop has for its answer.
        `clock` returns an aware datetime, to which the sandbox adds what it is moved by. `smtp`: ``host:port`` of a
        mail server that is handed every mail. `seed` makes shares and shuffled lines repeatable.
        Raises `ConfigurationError` for a `host` or `smtp` that is not loopback, unless `allow_remote`; `public_url`
        is then the address under which customers' browsers reach the slips.
        """
        if not (allow_remote or is_loopback(host)):
            raise ConfigurationError(
                f"the sandbox does not listen on {host}: whoever reaches it can say that payments were made. "
                "Use 127.0.0.1, or pass allow_remote=True (--allow-remote) if that is what you want."
            )
        #: What the shop has agreed with ZEUS: stores, deadline, which notices and mails. Change it at any time.
        self.contract = Contract(clientip=clientip, testids=(testid,), notify=notify)
        self._agreed = deepcopy(self.contract)
        self._listen, self._host, self._port, self._allow_remote = listen, host, port, allow_remote
        self._public_url = public_url.rstrip("/") if public_url else None
        self._works = Works(self.contract, clock, notice_timeout, seed)
        self._works.base_url = self._public_url or NOWHERE
        self._works.restore = self._restore
        self._postman = Postman(smtp, allow_remote=allow_remote) if smtp else None
        if self._postman:
            self._works.mailbox.listeners.append(self._postman.put)
        self._server: Server | None = None
        self._ended: threading.Event | None = None
        self._timekeeper: threading.Thread | None = None

    def start(self) -> Self:
        """Run, in threads of its own; `reset` brings the contract back to what it is now.

        Raises `ConfigurationError` if the port cannot be had.
        """
        if self._ended is not None:
            raise RuntimeError("the sandbox is running already: stop() it first")
        server = self._bound() if self._listen else None
        self._agreed = deepcopy(self.contract)
        self._ended = threading.Event()
        self._works.sender.start()
        self._timekeeper = threading.Thread(
            target=self._keep_time, args=(self._ended,), name="zeus-sandbox-clock", daemon=True
        )
        self._timekeeper.start()
        if self._postman:
            self._postman.start()
        if server:
            self._server = server
            self._works.base_url = self._public_url or server.url
            self._works.wait = server.wait
            server.start(make_app(self._works, anywhere=self._allow_remote))
        return self

    def stop(self) -> None:
        """End at once and leave no thread or socket behind; notices that are not sent yet are dropped."""
        if self._ended is None:
            return
        ended, self._ended = self._ended, None
        ended.set()
        self._works.sender.stop()
        if self._server is not None:
            server, self._server = self._server, None
            server.stop()
        if self._timekeeper is not None:
            self._timekeeper.join()
        if self._postman:
            self._postman.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _bound(self) -> Server:
        try:
            return Server(self._host, self._port)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"the sandbox cannot listen on {self._host} port {self._port}: {why}. "
                "Choose another port (--port), or 0 for any free one."
            ) from error

    def _keep_time(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK):
            self._works.clock.run_due()

    def reset(self) -> None:
        """Forget everything, bring the clock back and the contract to what it was at the start, as for a new test."""
        self._works.reset()

    def _restore(self) -> None:
        """Put the contract back, in place: others hold the same object."""
        vars(self.contract).update(vars(deepcopy(self._agreed)))

    @property
    def url(self) -> str:
        """The address it listens on, without a slash at the end."""
        if self._server is None:
            raise RuntimeError(
                "the sandbox is not listening: use it as a context manager, or start() it, without listen=False"
            )
        return self._server.url

    @property
    def endpoint(self) -> str:
        """What ZEUS_CVS_ENDPOINT takes."""
        return self.url + ENDPOINT

    def adapter(self) -> SandboxAdapter:
        """Make a transport adapter for requests: the gateway without a socket, started or not.

        For a session of your own: ``session.mount("https://", zeus.adapter())``.
        """
        return SandboxAdapter(self._works)

    def attach(
        self,
        app: WSGIApplication,
        path: str = "/zeus-cvs/callback",
        *,
        remote_addr: str = "127.0.0.1",
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        """Have notices taken by a WSGI application (a Flask app is one) in this process, instead of an address.

        `path` may have a query. `remote_addr` and `headers` are what its server would say of the sender. The
        `notice_timeout` does not cut it off, but counts.
        """
        self._works.sender.attachment = Attachment(app, path, remote_addr, headers)

    @property
    def notify(self) -> str | None:
        """Where the shop takes notices; counts for every notice that has not been sent yet."""
        return self.contract.notify

    @notify.setter
    def notify(self, address: str | None) -> None:
        self.contract.notify = address

    @property
    def applications(self) -> list[SimulatedApplication]:
        """Every application, in the order in which they came, as it is now."""
        return self._works.ledger.applications

    @property
    def calls(self) -> list[Call]:
        """The notices that were sent, in order, each with what the shop answered."""
        return self._works.sender.calls

    @property
    def mails(self) -> list[Mail]:
        """The mails that were sent, in order."""
        return self._works.mailbox.mails

    def application(self, order_no: str) -> SimulatedApplication:
        """Raise `UnknownApplication` if there is none."""
        return self._works.ledger.get(order_no)

    def calls_for(self, order_no: str) -> list[Call]:
        """The notices of one application that were sent."""
        return self._works.sender.calls_for(order_no)

    # --- time --------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The sandbox's time (JST)."""
        return self._works.clock.now()

    def forward(self, step: str | timedelta = timedelta(), **more: float) -> None:
        """Move the clock: ``forward("+1 hour")``, ``forward(days=3)``. What falls due on the way happens, in order.

        Deadlines pass (03), 05 follows 04, test payments run, timed-out calls are repeated. Raises `ValueError`
        for a step back.
        """
        self._works.clock.forward((duration(step) if isinstance(step, str) else step) + timedelta(**more))

    def next_day(self) -> None:
        """Move the clock to the next midnight in Japan."""
        self.forward_to(self._works.clock.next_midnight())

    def forward_to(self, moment: datetime) -> None:
        """Move the clock to an aware `moment`; raises `ValueError` if that is past."""
        self._works.clock.forward_to(moment)

    def forward_to_deadline(self, order_no: str) -> None:
        """Move the clock to the end of a slip's last day (24:00 in Japan): then it has expired.

        Raises `ValueError` if it has none, or if that is past.
        """
        deadline = self.application(order_no).deadline
        if deadline is None:
            raise ValueError(f"{order_no} has no deadline: the application failed")
        self.forward_to(deadline)

    # --- what happens at the counter, at the chain, on ZEUS's screen -----------------------------------

    def pay(self, order_no: str) -> SimulatedApplication:
        """The customer pays at the counter: 04, and for a slip that was re-issued 11.

        Like every verb it raises `UnknownApplication`, or `VerbRefused` where it cannot happen, and returns
        the application as it is then. The shop hears of it a little later: see `settle`.
        """
        return self._works.ledger.apply(Verb.PAY, order_no)

    def confirm(self, order_no: str) -> SimulatedApplication:
        """The chain's head office confirms the sale: 05, after a cancel 12."""
        return self._works.ledger.apply(Verb.CONFIRM, order_no)

    def cancel(self, order_no: str) -> SimulatedApplication:
        """The clerk takes the payment back: 06, after a cancel 13."""
        return self._works.ledger.apply(Verb.CANCEL, order_no)

    def expire(self, order_no: str) -> SimulatedApplication:
        """The deadline passes: 03, which the shop is told only if `contract.on_request` has it."""
        return self._works.ledger.apply(Verb.EXPIRE, order_no)

    def reissue(self, order_no: str) -> SimulatedApplication:
        """Someone issues it again on ZEUS's screen: returns the new one. The old one is キャンセル, silently."""
        return self._works.ledger.apply(Verb.REISSUE, order_no)

    def resend(self, order_no: str, status: Status | None = None) -> SimulatedApplication:
        """Someone sends its last notice again from ZEUS's screen, or the one of a `status` that it was told."""
        return self._works.ledger.resend(order_no, status)

    def stop_service(self) -> None:
        """ZEUS stops the service (番組停止): applications fail with 800001, money that comes is not told."""
        self.contract.stopped = True

    def resume_service(self) -> None:
        """The service goes on; what was paid meanwhile stays 番組停止."""
        self.contract.stopped = False

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until the shop has answered every notice there is; `TimeoutError` after `timeout` seconds."""
        self._works.clock.run_due()
        if not self._works.sender.settle(timeout):
            raise TimeoutError(f"the shop has not answered every notice within {timeout} seconds")

    # --- faults on demand --------------------------------------------------------------------------------

    def answer_next(self, fault: str = "", *, times: int = 1, **how: Unpack[gateway.How]) -> None:
        """Script the answers to the next `times` POSTs; calls add up, in order.

        =========================  ====================================================  ===========
        argument                   the shop gets                                         slip exists
        =========================  ====================================================  ===========
        ``"lost"``                 a cut connection                                      yes
        ``"cut"``                  half an answer                                        yes
        ``"never"``                no answer, and the connection stays                   yes
        ``"empty"``                an empty body                                         no
        ``"html"``                 a page from something in between                      no
        ``"maintenance"``          that word                                             no
        ``error_code="0008"``      ``failure_order`` with the code                       no
        ``parameter="telno"``      a text that names the parameter                       no
        ``body=b"..."``            these bytes                                           no
        ``delay=2.5``              the answer that many seconds late                     yes
        ``notice_first=True``      the notice 01 before the answer                       yes
        ``crlf=True``              lines that end with CRLF                              yes
        ``spaced=True``            spaces round ``=``, as in the manual's sample         yes
        ``shuffled=True``          its lines in another order                            yes
        =========================  ====================================================  ===========

        `delay` goes with everything. `status` is the HTTP status. `registered` overrules the last column for
        ``empty``, ``html``, ``maintenance``, ``lost``, ``cut``, ``never`` and `body`. A slip exists only for a
        request that passes the checks. Raises `ValueError` for what does not go together.
        """
        self._works.answers.add(gateway.plan(fault, **how), times)

    def answer_while(
        self, fault: str = "", *, share: float = 1.0, **how: Unpack[gateway.How]
    ) -> Switch[gateway.Plan]:
        """Answer a `share` of the POSTs (0–1) as `answer_next` says, until the switch is ``off()``.

        A context manager too: ``with zeus.answer_while("lost", share=0.1): ...``
        """
        return self._works.answers.switch_on(gateway.plan(fault, **how), share)

    def notify_next(self, trouble: str, *, seconds: float = 1.0, times: int = 1) -> None:
        """Have something happen to the next `times` notices.

        ``"drop"``: it does not arrive. ``"repeat"``: it arrives twice. ``"reorder"``: the next one arrives before
        it. ``"delay"``: it arrives `seconds` later, and others overtake it. Raises `ValueError` for anything else.
        """
        self._works.troubles.add(notices.plan(trouble, seconds=seconds), times)

    def notify_while(self, trouble: str, *, share: float = 1.0, seconds: float = 1.0) -> Switch[notices.Plan]:
        """Have it happen to a `share` of the notices (0–1), until the switch is ``off()``; see `notify_next`."""
        return self._works.troubles.switch_on(notices.plan(trouble, seconds=seconds), share)

    def faults_off(self) -> None:
        """Forget every fault that was scripted or switched on: from now on everything goes well."""
        self._works.faults_off()
