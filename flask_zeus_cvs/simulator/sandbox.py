"""`Simulator`: ZEUS's side of the wire in one object, for tests and for looking at by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

from flask_zeus_cvs.exceptions import ConfigurationError
from flask_zeus_cvs.protocol.codes import Status
from flask_zeus_cvs.protocol.messages import Notice
from flask_zeus_cvs.simulator.gateway import Contract, Gateway, Script, plan
from flask_zeus_cvs.simulator.ledger import JST, Ledger, SimulatedApplication, Verb
from flask_zeus_cvs.simulator.notices import LIMIT, Call, Sender, is_loopback
from flask_zeus_cvs.simulator.pages import ENDPOINT, Backstage, make_app
from flask_zeus_cvs.simulator.server import Server


def japan_now() -> datetime:
    return datetime.now(JST)


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
        port: int = 0,
        clientip: str = "1234567890",
        testid: str = "12345678",
        host: str = "127.0.0.1",
        allow_remote: bool = False,
        public_url: str | None = None,
        notice_timeout: float = LIMIT,
        clock: Callable[[], datetime] = japan_now,
    ) -> None:
        """Prepare; nothing listens yet.

        `notify` is where the shop takes notices; without it none is sent. `port` 0 takes a free one.
        `notice_timeout`: seconds the shop has for its answer. `clock` returns an aware datetime.
        Raises `ConfigurationError` for a `host` that is not loopback, unless `allow_remote`; `public_url`
        is then the address under which customers' browsers reach the slips.
        """
        if not (allow_remote or is_loopback(host)):
            raise ConfigurationError(
                f"the sandbox does not listen on {host}: whoever reaches it can say that payments were made. "
                "Use 127.0.0.1, or pass allow_remote=True (--allow-remote) if that is what you want."
            )
        #: What the shop has agreed with ZEUS: stores, deadline, which notices. Change it at any time.
        self.contract = Contract(clientip=clientip, testid=testid, notify=notify)
        self._host, self._port, self._allow_remote = host, port, allow_remote
        self._public_url = public_url.rstrip("/") if public_url else None
        self._script = Script()
        self._ledger = Ledger(clock, lambda: self.contract.on_request)
        self._ledger.listeners.append(self._tell_shop)
        self._sender = Sender(lambda: self.contract.notify, notice_timeout)
        self._server: Server | None = None

    def start(self) -> Self:
        """Listen, in threads of its own. Raises `ConfigurationError` if the port cannot be had."""
        if self._server is not None:
            raise RuntimeError("the sandbox is running already: stop() it first")
        try:
            server = Server(self._host, self._port)
        except OSError as error:
            raise ConfigurationError(
                f"the sandbox cannot listen on {self._host} port {self._port}: {error.strerror}. "
                "Choose another port (--port), or 0 for any free one."
            ) from error
        backstage = Backstage(
            contract=self.contract,
            ledger=self._ledger,
            gateway=Gateway(self.contract, self._ledger, self._script),
            sender=self._sender,
            base_url=self._public_url or server.url,
            wait=server.wait,
            anywhere=self._allow_remote,
        )
        self._server = server
        self._sender.start()
        server.start(make_app(backstage))
        return self

    def stop(self) -> None:
        """End at once and leave no thread or socket behind; notices that are not sent yet are dropped."""
        if self._server is not None:
            server, self._server = self._server, None
            self._sender.stop()
            server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the sandbox is not running: use it as a context manager, or start() it")
        return self._server

    @property
    def url(self) -> str:
        """The address it listens on, without a slash at the end."""
        return self._running.url

    @property
    def endpoint(self) -> str:
        """What ZEUS_CVS_ENDPOINT takes."""
        return self.url + ENDPOINT

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
        return self._ledger.applications

    @property
    def calls(self) -> list[Call]:
        """The notices that were sent, in order, each with what the shop answered."""
        return self._sender.calls

    def application(self, order_no: str) -> SimulatedApplication:
        """Raise `UnknownApplication` if there is none."""
        return self._ledger.get(order_no)

    def pay(self, order_no: str) -> SimulatedApplication:
        """The customer pays at the counter: 04, and for a slip that was re-issued 11.

        Like every verb it raises `UnknownApplication`, or `VerbRefused` where it cannot happen, and returns
        the application as it is then. The shop hears of it a little later: see `settle`.
        """
        return self._ledger.apply(Verb.PAY, order_no)

    def confirm(self, order_no: str) -> SimulatedApplication:
        """The chain's head office confirms the sale: 05, after a cancel 12."""
        return self._ledger.apply(Verb.CONFIRM, order_no)

    def cancel(self, order_no: str) -> SimulatedApplication:
        """The clerk takes the payment back: 06, after a cancel 13."""
        return self._ledger.apply(Verb.CANCEL, order_no)

    def expire(self, order_no: str) -> SimulatedApplication:
        """The deadline passes: 03, which the shop is told only if `contract.on_request` has it."""
        return self._ledger.apply(Verb.EXPIRE, order_no)

    def reissue(self, order_no: str) -> SimulatedApplication:
        """Someone issues it again on ZEUS's screen: returns the new one. The old one is キャンセル, silently."""
        return self._ledger.apply(Verb.REISSUE, order_no)

    def resend(self, order_no: str) -> SimulatedApplication:
        """Someone sends its last notice again from ZEUS's screen."""
        return self._ledger.apply(Verb.RESEND, order_no)

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until the shop has answered every notice there is; `TimeoutError` after `timeout` seconds."""
        if not self._sender.settle(timeout):
            raise TimeoutError(f"the shop has not answered every notice within {timeout} seconds")

    def answer_next(
        self,
        fault: str = "",
        *,
        delay: float = 0.0,
        error_code: str = "",
        parameter: str = "",
        body: bytes | None = None,
        status: int = 200,
        registered: bool | None = None,
        notice_first: bool = False,
        times: int = 1,
    ) -> None:
        """Script the answers to the next `times` POSTs; calls add up, in order.

        =========================  ====================================================  ===========
        argument                   the shop gets                                         slip exists
        =========================  ====================================================  ===========
        ``"lost"``                 a cut connection                                      yes
        ``"cut"``                  half an answer                                        yes
        ``"empty"``                an empty body                                         no
        ``"html"``                 a page from something in between                      no
        ``"maintenance"``          that word                                             no
        ``error_code="0008"``      ``failure_order`` with the code                       no
        ``parameter="telno"``      a text that names the parameter                       no
        ``body=b"..."``            these bytes                                           no
        ``delay=2.5``              the answer that many seconds late                     yes
        ``notice_first=True``      the notice 01 before the answer                       yes
        =========================  ====================================================  ===========

        `delay` goes with everything. `status` is the HTTP status. `registered` overrules the last column for
        ``empty``, ``html``, ``maintenance``, ``lost``, ``cut`` and `body`. A slip exists only for a request that
        passes the checks. Raises `ValueError` for what does not go together.
        """
        self._script.add(
            plan(
                fault,
                delay=delay,
                error_code=error_code,
                parameter=parameter,
                body=body,
                status=status,
                registered=registered,
                notice_first=notice_first,
            ),
            times,
        )

    def _tell_shop(self, application: SimulatedApplication, status: Status, *, held: bool) -> None:
        notice = Notice(
            status=status,
            clientip=self.contract.clientip,
            money=application.money,
            username=application.username,
            telno=application.telno,
            email=application.email,
            sendid=application.sendid,
            sendpoint=application.sendpoint,
            order_no=application.order_no,
            pay_cvs=application.store,
            pay_no1=application.pay_no1,
            pay_no2=application.pay_no2,
            pay_limit=application.pay_limit,
            error_code=application.error_code,
        )
        self._sender.put(application.order_no, status, notice.encode(), held=held)
