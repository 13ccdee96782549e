"""The CSV of ZEUS's screen, in a format of our own.

One line for each application, oldest first; the first line has the names. cp932 with CRLF, or UTF-8 with a byte
order mark. Values are as they were sent: nothing is done to them for spreadsheets.

============ ==============================================================================================
order_no     ZEUS's serial
status       two digits; blank for キャンセル and 番組停止
status_name  what the screen calls it: the only column that tells those two
…            pay_cvs, money, username, telno, email, sendid, sendpoint, pay_no1, pay_no2, error_code: as in a notice
pay_limit    yyyymmdd, blank where there is no slip
test         1 for a test, else 0
applied_at   yyyy-mm-dd hh:mm:ss in Japan, by the sandbox's clock
changed_at   the same, when it got the status that it has
replaces     the order_no of which it is a re-issue
replaced_by  the order_no of its re-issue
============ ==============================================================================================
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from flask_zeus_cvs.simulator.ledger import SimulatedApplication

#: How the file can be written, by what ``encoding`` takes.
ENCODINGS: Mapping[str, str] = MappingProxyType({"cp932": "cp932", "utf-8": "utf-8-sig"})

_MOMENT = "%Y-%m-%d %H:%M:%S"

#: The columns, each with what it means and its value.
COLUMNS: Mapping[str, tuple[str, Callable[[SimulatedApplication], str]]] = MappingProxyType(
    {
        "order_no": ("オーダー番号", lambda each: each.order_no),
        "status": ("ステータス（2桁。キャンセルと番組停止は空欄）", lambda each: each.code),
        "status_name": ("ステータスの名前", lambda each: each.info.name),
        "pay_cvs": ("コンビニコード", lambda each: each.store),
        "money": ("金額（円）", lambda each: str(each.money)),
        "username": ("お名前", lambda each: each.username),
        "telno": ("電話番号", lambda each: each.telno),
        "email": ("メールアドレス", lambda each: each.email),
        "sendid": ("フリーパラメータ", lambda each: each.sendid),
        "sendpoint": ("フリーパラメータ", lambda each: each.sendpoint),
        "pay_no1": ("払込用番号1", lambda each: each.pay_no1),
        "pay_no2": ("払込用番号2", lambda each: each.pay_no2),
        "pay_limit": (
            "支払期限（yyyymmdd）",
            lambda each: f"{each.pay_limit:%Y%m%d}" if each.pay_limit else "",
        ),
        "error_code": ("エラーコード", lambda each: each.error_code),
        "test": ("テストなら1、ほかは0", lambda each: str(int(each.test))),
        "applied_at": ("申込日時（yyyy-mm-dd hh:mm:ss）", lambda each: f"{each.applied_at:{_MOMENT}}"),
        "changed_at": ("いまのステータスになった日時", lambda each: f"{each.history[-1].at:{_MOMENT}}"),
        "replaces": ("再発行元のオーダー番号", lambda each: each.replaces),
        "replaced_by": ("再発行先のオーダー番号", lambda each: each.replaced_by),
    }
)


def write(applications: Iterable[SimulatedApplication], encoding: str = "cp932") -> bytes:
    """Write the file. `encoding` is one of `ENCODINGS`, or it is a `KeyError`."""
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(COLUMNS)
    for each in applications:
        lines.writerow(value(each) for _, value in COLUMNS.values())
    return text.getvalue().encode(ENCODINGS[encoding])
