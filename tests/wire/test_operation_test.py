"""``flask zeus-cvs test-order`` beside a real shop, against the sandbox: what it passes, and how it fails.

The shop runs under gunicorn and takes the notices; the command is a process of its own on the same database.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_zeus_cvs.simulator import Simulator
from tests.blocks import assert_printed, block
from tests.conftest import CLIENT_IP, CUSTOMER
from tests.wire import hearing_shop
from tests.wire.sites import PATIENCE, Site, command, environment, serving, until

TESTER = ("--name", CUSTOMER.name, "--phone", CUSTOMER.phone, "--email", CUSTOMER.email)
APP = f"{hearing_shop.__name__}:create_app"
#: Minutes that the command waits where nothing will come.
IN_VAIN = ("--timeout", "0.04")


@pytest.fixture
def settings(tmp_path: Path, zeus_simulator: Simulator) -> dict[str, Any]:
    return {
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.db'}",
        "ZEUS_CVS_CLIENT_IP": CLIENT_IP,
        "ZEUS_CVS_ENDPOINT": zeus_simulator.endpoint,
    }


@pytest.fixture
def zeus(zeus_simulator: Simulator) -> Simulator:
    """The sandbox; a test's 05 or 06 follows its 04 within a second."""
    zeus_simulator.contract.test_outcome_minutes = 0.01
    return zeus_simulator


@contextmanager
def running(folder: Path, zeus: Simulator, settings: dict[str, Any]) -> Iterator[Site]:
    """Run the shop, and tell the sandbox where it is; customers of these tests come over plain http."""
    with serving(folder, "-w", "2", shop=hearing_shop, **settings, ZEUS_CVS_REQUIRE_HTTPS=False) as site:
        zeus.notify = f"{site.url}/zeus-cvs/callback"
        yield site


def started(settings: dict[str, Any], folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start the command; its reports go into the folder."""
    arguments = (
        "zeus-cvs",
        "test-order",
        "--yes",
        "--test-id",
        "12345678",
        "--by",
        "山田",
        *TESTER,
        *options,
    )
    return subprocess.Popen(
        command("flask", "--app", APP, *arguments),
        env=environment(settings),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_take_interrupts,
    )


def _take_interrupts() -> None:
    """What is started in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Ended:
    """A command that has ended: its status, what it said, and the reports that it left."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.said, self.complained = process.communicate(timeout=2 * PATIENCE)
        self.status = process.returncode
        self.reports = sorted(folder.glob("zeus-cvs-test-*"))

    @property
    def markdown(self) -> str:
        (report,) = (each for each in self.reports if each.suffix == ".md")
        return report.read_text("utf-8")

    @property
    def words(self) -> str:
        """What it said, whatever the width of its lines."""
        return " ".join(self.said.split())

    @property
    def last_line(self) -> str:
        return self.said.splitlines()[-1]

    def marks(self) -> dict[str, str]:
        """Each point's mark, by its number in the report."""
        rows = re.findall(r"^\| [^|]*\| ([^|]+) \| (○|×|未確認) \|", self.markdown, flags=re.M)
        return dict(rows)


def carry_out(settings: dict[str, Any], folder: Path, *options: str) -> Ended:
    return Ended(started(settings, folder, *options), folder)


def rows(settings: dict[str, Any], query: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(settings["SQLALCHEMY_DATABASE_URI"], poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


@pytest.mark.parametrize(
    ("kind", "store", "statuses", "state"),
    [
        ("0", "D001", ["01"], "awaiting_payment"),
        ("1", "D002", ["01", "04", "05"], "confirmed"),
        ("2", "D030", ["01", "04", "06"], "cancelled"),
    ],
)
def test_each_type_passes(
    tmp_path: Path,
    zeus: Simulator,
    settings: dict[str, Any],
    kind: str,
    store: str,
    statuses: list[str],
    state: str,
) -> None:
    """All that can be seen from here is ○, what needs a person is 未確認, and the shop's receivers were called by the
    shop. The running shop has no test settings, before or after."""
    with running(tmp_path, zeus, settings) as site:
        ended = carry_out(settings, tmp_path, "--type", kind, "--store", store)
        assert ended.status == 0, ended.said + ended.complained
        assert ended.last_line == "Passed 10, failed 0, left open 4."
        marks = ended.marks()
        assert list(marks.values()).count("○") == 10
        assert marks["売上管理画面にテストデータが表示された"] == "未確認"
        ((_, told),) = site.orders().items()
        assert told == [state, 0], "the goods of a test do not ship"
        (application,) = zeus.applications
        assert application.test
        assert re.findall(r"^\| (?:\S+)? ?\| (\d\d) ", ended.markdown, flags=re.M) == statuses
        site.apply("A-1")
        assert not zeus.applications[-1].test, "the shop's customers go on to get real slips"
        assert len(rows(settings, "SELECT what FROM heard WHERE what LIKE '% TEST-%'")) == len(statuses)


def test_the_05_may_take_half_an_hour(
    tmp_path: Path, zeus_simulator: Simulator, settings: dict[str, Any]
) -> None:
    """Nothing but patience is needed meanwhile: by the sandbox's clock half an hour passes after the 04."""
    with running(tmp_path, zeus_simulator, settings):
        process = started(settings, tmp_path, "--type", "1")
        until(lambda: [call.status.value for call in zeus_simulator.calls if call.delivered], ["01", "04"])
        assert process.poll() is None
        zeus_simulator.forward(minutes=30)
        ended = Ended(process, tmp_path)
    assert ended.status == 0, ended.said + ended.complained
    assert "05 (セブン-イレブン) came after" in ended.words


def test_every_store_at_once(tmp_path: Path, zeus: Simulator, settings: dict[str, Any]) -> None:
    """All six apply first and then wait together; each has a column, and a reference of its own."""
    with running(tmp_path, zeus, settings) as site:
        ended = carry_out(settings, tmp_path, "--type", "1", "--store", "all", "--json")
        assert ended.status == 0, ended.said + ended.complained
        told = json.loads(ended.said)
        assert told["marks"] == {"passed": 60, "failed": 0, "open": 4}
        assert [each["store"] for each in told["stores"]] == ["D001", "D002", "D030", "D015", "D050", "D060"]
        assert {each["state"] for each in told["stores"]} == {"confirmed"}
        assert set(site.orders()) == {each["reference"] for each in told["stores"]}
        assert told["tester"] == {"name": "ヤ＊＊＊", "phone": "***5678", "email": "t***@example.com"}
    assert "ローソン | ファミリーマート" in ended.markdown


def test_it_prints_what_the_page_shows(tmp_path: Path, zeus: Simulator, settings: dict[str, Any]) -> None:
    """Of type 1: what is said of the notices, the reports and the sum, but for numbers."""
    with running(tmp_path, zeus, settings):
        ended = carry_out(settings, tmp_path, "--type", "1")
    printed = numberless(ended.said[ended.said.index("3. Notices") :])
    assert_printed(printed, numberless(block("14-go-live", "3. Notices")))


def numberless(text: str) -> str:
    """A text in one line, its numbers left out."""
    return " ".join(re.sub(r"\d+", "#", text).split())


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (
            {"ZEUS_CVS_CALLBACK_IPS": ["192.0.2.10"]},
            "1. The sender's address is not in ZEUS_CVS_CALLBACK_IPS",
        ),
        ({"ZEUS_CVS_CALLBACK_IPS": None}, "1. ZEUS_CVS_CALLBACK_IPS is not set"),
        (
            {"ZEUS_CVS_CALLBACK_TOKEN": "right-token"},
            "2. The URL registered with ZEUS does not end in the token",
        ),
    ],
    ids=["address", "unset", "token"],
)
def test_a_callback_that_refuses_is_explained(
    tmp_path: Path, zeus: Simulator, settings: dict[str, Any], wrong: dict[str, Any], cause: str
) -> None:
    """The address, or the token, is refused: the application passes, the notices fail, the causes are in order, and the
    report is written. No secret of the settings is in either."""
    settings |= wrong
    with running(tmp_path, zeus, settings) as site:
        ended = carry_out(settings, tmp_path, "--type", "1", *IN_VAIN)
        assert (
            "A call of the callback from '127.0.0.1' was refused" in site.said() or "TOKEN" in cause.upper()
        )
    assert ended.status == 1
    assert "failed 1," in ended.last_line
    assert cause in ended.words
    assert "This database has never stored a notice" in ended.words
    assert "A call of the callback from" in ended.words
    assert ended.marks()["通知（CGIコール）がすべて届いた"] == "×"
    assert not {"192.0.2.10", "right-token"} & set(re.findall(r"[\w.-]+", ended.said + ended.markdown))


def test_a_callback_that_is_open_to_others(tmp_path: Path, zeus: Simulator, settings: dict[str, Any]) -> None:
    """This test's notices are lost, another payment's came before: the database says that the way in was open."""
    with running(tmp_path, zeus, settings) as site:
        site.apply("A-1")
        zeus.settle()
        with zeus.notify_while("drop"):
            ended = carry_out(settings, tmp_path, "--type", "1", *IN_VAIN)
    assert ended.status == 1
    assert "The last notice before this test was stored on" in ended.words


def test_notices_of_another_merchant_are_noticed(
    tmp_path: Path, zeus: Simulator, settings: dict[str, Any]
) -> None:
    """What came and fits nothing may be the test's own: it is told of, and what to ask ZEUS."""
    with running(tmp_path, zeus, settings) as site, zeus.notify_while("drop"):
        process = started(settings, tmp_path, "--type", "1", *IN_VAIN)
        until(lambda: len(zeus.applications), 1)
        assert site.notify("order_no=9999-9&status=04&money=1000") == (200, "OK")
        ended = Ended(process, tmp_path)
    assert ended.status == 1
    assert "1 notices were stored meanwhile that fit no payment" in ended.words


def test_a_wrong_encoding_is_found(tmp_path: Path, zeus: Simulator, settings: dict[str, Any]) -> None:
    """The shop reads UTF-8 where ZEUS writes Shift_JIS: states follow all the same, and the setting is named."""
    settings["ZEUS_CVS_CALLBACK_ENCODING"] = "utf-8"
    with running(tmp_path, zeus, settings):
        ended = carry_out(settings, tmp_path, "--type", "1")
    assert ended.status == 1
    assert "01, 04, 05: username could not be read." in ended.words
    assert "ZEUS_CVS_CALLBACK_ENCODING is utf-8: remove" in ended.words
    marks = ended.marks()
    assert marks["通知のパラメータを読み取れた"] == "×"
    assert marks["支払いの状態が通知どおりに変わった"] == "○"
    assert "ZEUS_CVS_CALLBACK_ENCODING（utf-8）の設定を外してください" in ended.markdown


def test_parameters_that_were_not_chosen_are_named(
    tmp_path: Path, zeus: Simulator, settings: dict[str, Any]
) -> None:
    """Ten of the 14 suffice to pass, and the missing four are in the report; without money it fails."""
    zeus.contract.change(
        {"parameters": "order_no,status,money,sendid,clientip,pay_cvs,pay_no1,pay_no2,pay_limit,error_code"}
    )
    with running(tmp_path, zeus, settings):
        ended = carry_out(settings, tmp_path, "--type", "0", "--report", "few.md")
        assert ended.status == 0, ended.said
        assert "10 / 14 | username, telno, email, sendpoint |" in (tmp_path / "few.md").read_text("utf-8")
        zeus.contract.change({"parameters": "order_no,status,sendid"})
        assert carry_out(settings, tmp_path, "--type", "0").status == 1


def test_a_receiver_that_fails_is_found(tmp_path: Path, zeus: Simulator, settings: dict[str, Any]) -> None:
    """The running shop's own receiver raised: its name, the event and the place are there, not what it was told."""
    settings["SHOP_FAILS"] = True
    with running(tmp_path, zeus, settings):
        ended = carry_out(settings, tmp_path, "--type", "1")
    assert ended.status == 1
    assert "shop.note failed with payment_received: KeyError" in ended.words
    assert ended.marks()["ショップの処理（レシーバー）が呼ばれた"] == "×"


@pytest.mark.parametrize(
    ("scripted", "said"),
    [
        (
            {"parameter": "testid"},
            "ZEUS named the parameter testid as wrong. Most likely the test id is wrong",
        ),
        ({"error_code": "900000"}, "error code 900000"),
    ],
)
def test_a_refusal_is_explained(
    tmp_path: Path, zeus: Simulator, settings: dict[str, Any], scripted: Any, said: str
) -> None:
    """ZEUS refuses the application: nothing is waited for, and the payment is closed."""
    zeus.answer_next(**scripted)
    hearing_shop.create_app(settings)
    ended = carry_out(settings, tmp_path, "--type", "1")
    assert ended.status == 1
    assert said in ended.words
    assert [row[0] for row in rows(settings, "SELECT closed_at FROM zeus_cvs_payments")] != [None]


def test_wrong_ids_are_named(tmp_path: Path, zeus: Simulator, settings: dict[str, Any]) -> None:
    """A test id of nobody's is error 800000, an IP code of nobody's 800001, each with its cure."""
    hearing_shop.create_app(settings)
    ended = carry_out(settings, tmp_path, "--type", "1", "--test-id", "87654321", "--report", "a.md")
    assert ended.status == 1
    assert "800000" in ended.words
    assert "テストカード番号管理" in ended.words
    settings["ZEUS_CVS_CLIENT_IP"] = "9999999999"
    ended = carry_out(settings, tmp_path, "--type", "1", "--report", "b.md")
    assert ended.status == 1
    assert "800001" in ended.words
    assert "Compare ZEUS_CVS_CLIENT_IP" in ended.words


def test_an_endpoint_that_cannot_be_reached(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Nothing was sent: it could not run. There is no report, and no payment that somebody could think open."""
    settings["ZEUS_CVS_ENDPOINT"] = "http://127.0.0.1:9/cgi-bin/cvs.cgi"
    hearing_shop.create_app(settings)
    ended = carry_out(settings, tmp_path, "--type", "1")
    assert ended.status == 2
    assert "127.0.0.1:9 could not be reached, and nothing was sent" in ended.words
    assert "HTTPS_PROXY" in ended.words
    assert not ended.reports
    assert [row[0] for row in rows(settings, "SELECT closed_at FROM zeus_cvs_payments")] != [None]


def test_a_database_without_tables(tmp_path: Path, zeus: Simulator, settings: dict[str, Any]) -> None:
    """It is said before anything is sent."""
    ended = carry_out(settings, tmp_path, "--type", "1")
    assert ended.status == 2
    assert "lacks tables" in ended.complained
    assert "flask db upgrade" in ended.complained
    assert "Traceback" not in ended.complained
    assert zeus.applications == []


def test_ctrl_c_leaves_a_report(tmp_path: Path, zeus_simulator: Simulator, settings: dict[str, Any]) -> None:
    """What had come by then is ○, the rest 未確認; nothing has failed, and the status says that it is not done."""
    with running(tmp_path, zeus_simulator, settings):
        process = started(settings, tmp_path, "--type", "1")
        seen = threading.Event()
        output: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            for line in iter(process.stdout.readline, ""):
                output.append(line)
                if line.startswith("04 "):
                    seen.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert seen.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        status = process.wait(PATIENCE)
        reader.join(PATIENCE)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
    assert status == 1
    assert ", failed 0, " in output[-1]
    (report,) = tmp_path.glob("zeus-cvs-test-*.md")
    text = report.read_text("utf-8")
    assert "途中で中断しました。" in text
    assert "| 通知（CGIコール）がすべて届いた | 未確認 |" in text
    assert "| 通知の内容が申込・応答と一致した | ○ |" in text


def test_tokens_and_details_are_nowhere(
    tmp_path: Path, zeus: Simulator, settings: dict[str, Any], closing: ExitStack
) -> None:
    """Neither the output nor a report has the key of the page, the tester's details, or the test id."""
    closing.enter_context(running(tmp_path, zeus, settings))
    ended = carry_out(settings, tmp_path, "--type", "1")
    told = ended.said + ended.complained + "".join(each.read_text("utf-8") for each in ended.reports)
    ((token,),) = rows(settings, "SELECT token FROM zeus_cvs_payments")
    for secret in (token[:8], CUSTOMER.name, CUSTOMER.phone, CUSTOMER.email, "12345678"):
        assert secret not in told
    assert len(ended.reports) == 2
