"""The checkout form: what a customer types, and what is wrong with it.

The form judges nothing itself: `customer.checked` does, and `wording` says it. What was typed
stays in the form as it was typed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import request
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from markupsafe import Markup, escape
from wtforms import EmailField, Field, HiddenField, RadioField, StringField, TelField
from wtforms.widgets import EmailInput, HiddenInput, Input, RadioInput, TelInput, TextInput

from flask_zeus_cvs.customer import Customer, checked
from flask_zeus_cvs.exceptions import InvalidCustomer, InvalidField
from flask_zeus_cvs.protocol.codes import STORES, Store, StoreInfo
from flask_zeus_cvs.protocol.fields import Problem
from flask_zeus_cvs.web import wording
from flask_zeus_cvs.web.texts import translate
from flask_zeus_cvs.web.wording import FORM_FIELDS, LABELS, STORE_NAMES, message_for


@dataclass(frozen=True)
class Complaint:
    """One line of the summary over the form; the anchor is the id of the input to go to, or blank."""

    anchor: str
    label: str
    text: str


def attributes(**given: Any) -> Markup:
    """Write an input's attributes as WTForms does, byte for byte; it makes each a template: a third of the page's CPU."""
    written = (
        _dashed(name) if value is True else f'{_dashed(name)}="{_quoted(value)}"'
        for name, value in sorted(given.items())
        if value is not False
    )
    return Markup(" ".join(written))


def _dashed(name: str) -> str:
    name = name.rstrip("_")
    return name.replace("_", "-") if name.startswith(("data_", "aria_")) else name


def _quoted(value: Any) -> str:
    return str(escape(value)).replace('"', "&quot;")


def _quick(widget: Input) -> Input:
    widget.html_params = attributes  # type: ignore[method-assign]
    return widget


class CheckoutForm(FlaskForm):  # type: ignore[misc]
    """The fields of the contract: name, phone, email, store, amount, and Flask-WTF's csrf_token."""

    # The ids have a prefix because the page stands in a shop's frame, which may have an "email" of its own.
    name = StringField(LABELS["name"], id="zeus-name", widget=_quick(TextInput()))
    phone = TelField(LABELS["phone"], id="zeus-phone", widget=_quick(TelInput()))
    email = EmailField(LABELS["email"], id="zeus-email", widget=_quick(EmailInput()))
    store = RadioField(
        LABELS["store"], id="zeus-store", validate_choice=False, option_widget=_quick(RadioInput())
    )
    amount = HiddenField(LABELS["amount"], id="zeus-amount", widget=_quick(HiddenInput()))

    def __init__(self, amount: int, stores: Iterable[Store], **given: Any) -> None:
        self._due = str(amount)
        self._offered = tuple(stores)
        super().__init__(**given)
        self.store.choices = [(each.value, translate(STORE_NAMES[each])) for each in self._offered]
        for name, label in LABELS.items():
            self[name].label.text = translate(label)
        self.customer = Customer()
        self._known = Customer()

    @classmethod
    def filled(
        cls, amount: int, stores: Iterable[Store], customer: Customer, store: Store | None
    ) -> CheckoutForm:
        """Make the form to be shown, filled with what is known."""
        known = {"name": customer.name, "phone": customer.phone, "email": customer.email}
        form = cls(amount, stores, formdata=None, data={**known, "store": store, "amount": str(amount)})
        form._known = customer
        return form

    @classmethod
    def posted(cls, amount: int, stores: Iterable[Store], known: Customer | None = None) -> CheckoutForm:
        """Read the request's body, as a form and nothing else: Flask-WTF would take JSON, too.

        `known` is what the form was filled with.
        """
        form = cls(amount, stores, formdata=request.form)
        form._known = known or Customer()
        return form

    @property
    def tiles(self) -> list[tuple[Any, StoreInfo]]:
        """Each store's radio button with the store, in the shop's order."""
        return [(choice, STORES[Store(choice.data)]) for choice in self.store]

    @property
    def is_known(self) -> bool:
        """Whether nothing need be typed: every detail was known before, is right, and stands in the form unchanged."""
        if self.name.errors or self.phone.errors or self.email.errors or self._typed() != self._known:
            return False
        try:
            checked(self._known)
        except InvalidCustomer:
            return False
        return True

    def validate(self, extra_validators: Any = None) -> bool:
        """Check everything; set `customer` to what can be sent, and put the amount right for the next try."""
        good = bool(super().validate(extra_validators))
        self._translate_token_errors()
        try:
            self.customer = checked(self._typed())
        except InvalidCustomer as error:
            self.complain(error.problems)
            good = False
        return all([good, self._store_is_offered(), self._amount_is_due()])

    def _typed(self) -> Customer:
        return Customer(self.name.data or "", self.phone.data or "", self.email.data or "")

    def complain(self, problems: Iterable[InvalidField]) -> None:
        """Put each problem, which bears a wire name, at its line of the form."""
        for problem in problems:
            self.say(FORM_FIELDS[problem.field], message_for(problem))

    def say(self, name: str, text: str) -> None:
        """Put a text at a line of the form."""
        self[name].errors = [*self[name].errors, text]

    @property
    def complaints(self) -> list[Complaint]:
        """Everything that is wrong, in the order of the page."""
        shown = [self.store, self.name, self.phone, self.email, self.amount]
        if self.meta.csrf:
            shown.insert(0, self[self.meta.csrf_field_name])
        return [complaint for field in shown for complaint in _of(field)]

    def _translate_token_errors(self) -> None:
        if self.meta.csrf and self[self.meta.csrf_field_name].errors:
            self[self.meta.csrf_field_name].errors = [translate(wording.STALE_FORM)]

    def _store_is_offered(self) -> bool:
        if self.store.data in self._offered:
            return True
        self.complain([InvalidField("pay_cvs", Problem.choice if self.store.data else Problem.required)])
        return False

    def _amount_is_due(self) -> bool:
        """Refuse any amount but the payment's own; the amount to be charged never comes from here (law 9)."""
        good = all(each == self._due for each in self.amount.raw_data or ())
        if not good:
            self.say("amount", translate(wording.WRONG_AMOUNT))
        self.amount.data = self._due
        return good


def _of(field: Field) -> list[Complaint]:
    anchor = field.id if field.name in FORM_FIELDS.values() else ""
    if field.name == "store":
        anchor += "-0"  # the first button: a group takes no focus
    return [
        Complaint(anchor, field.label.text if field.name in LABELS else "", text) for text in field.errors
    ]
