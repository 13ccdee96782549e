"""What customers type becomes what the gateway accepts."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

import jaconv

from flask_zeus_cvs.exceptions import InvalidCustomer, InvalidField
from flask_zeus_cvs.protocol.fields import check


@dataclass(frozen=True, slots=True)
class Customer:
    """Who pays: the name in katakana, the telephone number, the e-mail address. The repr shows none of it."""

    name: str = field(default="", repr=False)
    phone: str = field(default="", repr=False)
    email: str = field(default="", repr=False)


def normalize(customer: Customer) -> Customer:
    """Return the customer in the gateway's spelling, as far as that can be told; it judges nothing.

    None, as an account without a telephone number may have it, is blank.
    """
    name, phone, email = (each or "" for each in (customer.name, customer.phone, customer.email))
    return Customer(_name(name), _phone(phone), email.strip(_BLANKS))


def checked(customer: Customer) -> Customer:
    """Normalize, then raise `InvalidCustomer` with an `InvalidField` for each detail that cannot be sent.

    The fields bear their wire names: ``username``, ``telno``, ``email``.
    """
    customer = normalize(customer)
    problems = []
    for name, value in (("username", customer.name), ("telno", customer.phone), ("email", customer.email)):
        try:
            check(name, value)
        except InvalidField as problem:
            problems.append(problem)
    if problems:
        raise InvalidCustomer(problems)
    return customer


def masked(customer: Customer) -> Customer:
    """Return as much of the details as lets a person tell customers apart: the first kana, the last four digits, the
    first letter and the domain of the e-mail address."""
    name, phone, email = customer.name, customer.phone, customer.email
    person, at, domain = email.rpartition("@")
    return Customer(
        name and name[0] + "＊" * 3,
        phone and "*" * 3 + phone[-4:],
        email and (person or domain)[:1] + "*" * 3 + (at + domain if at else ""),
    )


_SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# Soft hyphen, zero-width characters, marks of writing direction: phones put these round a copied number.
_UNSEEN = (
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_BLANKS = _SPACES + _UNSEEN
_HYPHENS = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2500\u2501\ufe58\ufe63\uff0d"
_BRACKETS = "()[]\uff08\uff09\uff3b\uff3d\u3010\u3011\u3014\u3015"

_UNSEEN_OUT = dict.fromkeys(map(ord, _UNSEEN))
_PHONE = str.maketrans("０１２３４５６７８９＋", "0123456789+", _BLANKS + _HYPHENS + _BRACKETS + "ーｰ")
# Voiced and semi-voiced marks: combining (as macOS writes file names), full-width, half-width.
_MARKS = {"\u3099": "\u3099", "゛": "\u3099", "ﾞ": "\u3099", "\u309a": "\u309a", "゜": "\u309a", "ﾟ": "\u309a"}
_VOICED = re.compile(f"([ァ-ヺ])([{''.join(_MARKS)}])")
_LONG_VOWEL = re.compile(f"(?<=[ァ-ヺー])[{re.escape(_HYPHENS)}]+")
_RUN_OF_SPACES = re.compile(f"[{_SPACES}]+")


def _name(text: str) -> str:
    text = jaconv.hira2kata(jaconv.h2z(text.translate(_UNSEEN_OUT)), ignore="ゝゞ")
    text = _VOICED.sub(_join, text)
    text = _LONG_VOWEL.sub(lambda run: "ー" * len(run[0]), text)
    return _RUN_OF_SPACES.sub("\u3000", text).strip("\u3000")


def _join(pair: re.Match[str]) -> str:
    kana, mark = pair.groups()
    joined = unicodedata.normalize("NFC", kana + _MARKS[mark])
    return joined if len(joined) == 1 else pair[0]


def _phone(text: str) -> str:
    digits = text.translate(_PHONE)
    return "0" + digits[3:].removeprefix("0") if digits.startswith("+81") else digits
