"""The other side of the wire, for tests and for trying a shop out: gateway, counters, notices, mail. It is not ZEUS.

It sees ``protocol`` and ``exceptions`` only, so that it cannot share the shop's mistakes.
"""

from __future__ import annotations

from flask_zeus_cvs.exceptions import UnknownApplication, VerbRefused
from flask_zeus_cvs.simulator.contract import Contract, MailKind, Method
from flask_zeus_cvs.simulator.ledger import Silent, SimulatedApplication, Step, Verb
from flask_zeus_cvs.simulator.mails import Mail
from flask_zeus_cvs.simulator.notices import Call
from flask_zeus_cvs.simulator.sandbox import Simulator
from flask_zeus_cvs.simulator.script import Switch

__all__ = [
    "Call",
    "Contract",
    "Mail",
    "MailKind",
    "Method",
    "Silent",
    "SimulatedApplication",
    "Simulator",
    "Step",
    "Switch",
    "UnknownApplication",
    "Verb",
    "VerbRefused",
]
