"""ZEUS convenience-store (konbini) payment for Flask."""

from __future__ import annotations

from flask_zeus_cvs.customer import Customer
from flask_zeus_cvs.exceptions import (
    ConfigurationError,
    CreatedMeanwhile,
    DatabaseAway,
    GatewayError,
    InvalidAmount,
    InvalidCustomer,
    InvalidField,
    NotPayable,
    NotResolvable,
    PendingWorkError,
    UnknownDelivery,
    UnknownReview,
    UnreadableNotice,
    ZeusCVSError,
)
from flask_zeus_cvs.extension import ZeusCVS
from flask_zeus_cvs.lifecycle import EventKind, State
from flask_zeus_cvs.protocol.codes import Store
from flask_zeus_cvs.signals import (
    EventData,
    application_accepted,
    application_declined,
    deadline_near,
    fulfillment_ready,
    payment_cancelled,
    payment_cancelled_after_cancel,
    payment_expired,
    payment_received,
    payment_received_after_cancel,
    review_required,
    sale_confirmed,
    sale_confirmed_after_cancel,
    silence_suspected,
)
from flask_zeus_cvs.staff.health import Health

__version__ = "0.1.0"

__all__ = [
    "ConfigurationError",
    "CreatedMeanwhile",
    "Customer",
    "DatabaseAway",
    "EventData",
    "EventKind",
    "GatewayError",
    "Health",
    "InvalidAmount",
    "InvalidCustomer",
    "InvalidField",
    "NotPayable",
    "NotResolvable",
    "PendingWorkError",
    "State",
    "Store",
    "UnknownDelivery",
    "UnknownReview",
    "UnreadableNotice",
    "ZeusCVS",
    "ZeusCVSError",
    "application_accepted",
    "application_declined",
    "deadline_near",
    "fulfillment_ready",
    "payment_cancelled",
    "payment_cancelled_after_cancel",
    "payment_expired",
    "payment_received",
    "payment_received_after_cancel",
    "review_required",
    "sale_confirmed",
    "sale_confirmed_after_cancel",
    "silence_suspected",
]
