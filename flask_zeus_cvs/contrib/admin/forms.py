"""What staff send: a decision, with the token of Flask-WTF and the name that stands under it."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from wtforms import BooleanField, HiddenField, RadioField, StringField, TextAreaField

from flask_zeus_cvs.contrib.admin.access import NAME_LENGTH, printable
from flask_zeus_cvs.models import Resolution
from flask_zeus_cvs.web.texts import mark, translate

NOTE_LENGTH = 2000

STALE = mark("画面を開いてから時間がたったため、何も行いませんでした。もう一度お試しください。")
NO_NAME = mark("お名前を入力してください。")
NOT_SURE = mark("内容を確かめて、チェックを入れてください。")
NO_CHOICE = mark("どうするかを選んでください。")
TOO_LONG = mark("{limit}文字までで入力してください。")


class DecisionForm(FlaskForm):  # type: ignore[misc]
    """A decision that is asked for once more before it is done."""

    sure = BooleanField(id="zeus-sure")
    by = StringField(id="zeus-by")

    def __init__(self, person: str) -> None:
        """``person``: the name that the shop knows; else it is asked for. Reads the request's body and nothing else."""
        self._person = person
        super().__init__(formdata=request.form if request.method == "POST" else None)

    @property
    def asks_for_name(self) -> bool:
        return not self._person

    @property
    def name(self) -> str:
        return self._person or printable(self.by.data or "")

    def validate(self, extra_validators: Any = None) -> bool:
        good = bool(super().validate(extra_validators))
        if self.meta.csrf and self[self.meta.csrf_field_name].errors:
            self[self.meta.csrf_field_name].errors = [translate(STALE)]
        return all([good, *self._checks()])

    def _checks(self) -> list[bool]:
        return [
            self._holds(self.sure, bool(self.sure.data), NOT_SURE),
            self._holds(self.by, bool(self.name), NO_NAME),
            self._holds(self.by, len(self.name) <= NAME_LENGTH, TOO_LONG, limit=NAME_LENGTH),
        ]

    def _holds(self, field: Any, good: bool, text: str, **values: object) -> bool:
        if not good:
            field.errors = [*field.errors, translate(text, **values)]
        return good

    @property
    def complaints(self) -> list[tuple[str, str]]:
        """Everything that is wrong, with the id of the input to go to."""
        return [
            (each.id if each.type != "CSRFTokenField" else "", text) for each in self for text in each.errors
        ]


class ResolveForm(DecisionForm):
    """What becomes of a review."""

    resolution = RadioField(id="zeus-resolution", validate_choice=False)
    note = TextAreaField(id="zeus-note")
    #: The shop's order number, or what else names a payment, for a notice that belongs to none yet.
    reference = StringField(id="zeus-reference")
    #: The payment of which something odd was said already, and which it is to be all the same.
    insisted = HiddenField()

    def __init__(self, person: str) -> None:
        super().__init__(person)
        self.resolution.choices = [(each.value, each.value) for each in Resolution]

    @property
    def chosen(self) -> Resolution:
        return Resolution(self.resolution.data)

    def _checks(self) -> list[bool]:
        known = self.resolution.data in {each.value for each in Resolution}
        short = len(self.note.data or "") <= NOTE_LENGTH
        return [
            self._holds(self.resolution, known, NO_CHOICE),
            self._holds(self.note, short, TOO_LONG, limit=NOTE_LENGTH),
            *super()._checks(),
        ]
