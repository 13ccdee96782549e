"""What the shop asks its customers. The token against forged requests is checked for the whole app."""

from __future__ import annotations

from wtforms import EmailField, Form, StringField, TelField
from wtforms.validators import InputRequired, Length, Regexp


def _required(name: str) -> InputRequired:
    return InputRequired(f"{name}を入力してください。")


def _at_most(limit: int) -> Length:
    return Length(max=limit, message=f"{limit}文字までで入力してください。")


def _trimmed(value: str | None) -> str:
    return (value or "").strip()


class OrderForm(Form):
    """Who orders, and where the goods go."""

    name = StringField(
        "お名前",
        [_required("お名前"), _at_most(40)],
        filters=[_trimmed],
        render_kw={"autocomplete": "name"},
    )
    kana = StringField(
        "フリガナ",
        [_required("フリガナ"), _at_most(40)],
        filters=[_trimmed],
        description="例：ヤマダ ハナコ",
    )
    phone = TelField(
        "電話番号",
        [_required("電話番号"), _at_most(20)],
        filters=[_trimmed],
        description="例：090-1234-5678",
        render_kw={"autocomplete": "tel"},
    )
    email = EmailField(
        "メールアドレス",
        [
            _required("メールアドレス"),
            _at_most(100),
            Regexp(r"[^@\s]+@[^@\s]+$", message="メールアドレスの形を確かめてください。"),
        ],
        filters=[_trimmed],
        render_kw={"autocomplete": "email"},
    )
    address = StringField(
        "お届け先の住所",
        [_required("お届け先の住所"), _at_most(120)],
        filters=[_trimmed],
        description="都道府県から建物名・部屋番号まで",
        render_kw={"autocomplete": "street-address"},
    )
