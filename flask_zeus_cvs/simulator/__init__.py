"""The other side of the wire, for tests and for trying a shop out: gateway, counters, notices. It is not ZEUS.

It sees ``protocol`` and ``exceptions`` only, so that it cannot share the shop's mistakes.
"""

from __future__ import annotations

from flask_zeus_cvs.exceptions import UnknownApplication, VerbRefused
from flask_zeus_cvs.simulator.ledger import SimulatedApplication, Verb
from flask_zeus_cvs.simulator.notices import Call
from flask_zeus_cvs.simulator.sandbox import Simulator

__all__ = ["Call", "SimulatedApplication", "Simulator", "UnknownApplication", "Verb", "VerbRefused"]
