"""What ``flask zeus-cvs check`` can find, as data: each code with how bad it is, why it matters, and the cure.

The examinations say *what* they saw; everything that is the same each time stands here, and in the docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """How bad it is, worst first."""

    #: Money or goods go wrong, or will.
    ERROR = "error"
    #: It works until something else happens.
    WARNING = "warning"
    #: It could be better; nothing is wrong.
    ADVICE = "advice"
    FINE = "fine"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``code`` is stable: its part before the dot is the group."""

    code: str
    severity: Severity
    what: str
    why: str = ""
    cure: str = ""

    @property
    def group(self) -> str:
        return self.code.partition(".")[0]


@dataclass(frozen=True)
class Rule:
    """What is the same about a finding each time."""

    severity: Severity
    why: str
    #: What to do; after a line end, what to type, for copying.
    cure: str


def found(code: str, what: str, *, severity: Severity | None = None, cure: str = "") -> Finding:
    """Make a finding of a code of `RULES`; ``cure`` replaces the usual one, where more is known."""
    rule = RULES[code]
    return Finding(code, severity or rule.severity, what, rule.why, cure or rule.cure)


def fine(code: str, what: str) -> Finding:
    """Make a finding that all is well."""
    return Finding(code, Severity.FINE, what)


_E, _W, _A = Severity.ERROR, Severity.WARNING, Severity.ADVICE
_NOTHING_HEARD = "ZEUS cannot tell you of payments: customers pay, and nothing ships."
_ANYONE = "Whoever can reach the callback can then claim that a payment was made, and goods ship unpaid."

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        # settings
        "settings.not_production": Rule(
            _A,
            "What only matters in production was not looked at.",
            "Run the check again as the server runs: without FLASK_DEBUG, and without TESTING.",
        ),
        "settings.callback_ips_unset": Rule(
            _E,
            "Every notice is refused. " + _NOTHING_HEARD,
            "Set ZEUS_CVS_CALLBACK_IPS to the two sender addresses that ZEUS's manual gives you.",
        ),
        "settings.callback_ips_private": Rule(
            _E,
            "Such an address is a proxy's or the machine's own, and every call that comes through it counts as ZEUS's. "
            + _ANYONE,
            "Take it out of ZEUS_CVS_CALLBACK_IPS. If notices are refused then, the proxy needs ProxyFix: see "
            "docs/5-callback.md.",
        ),
        "settings.callback_ips_example": Rule(
            _E,
            "Nobody calls from an address of the documentation's: the real sender is refused.",
            "Set ZEUS_CVS_CALLBACK_IPS to the two sender addresses that ZEUS's manual gives you.",
        ),
        "settings.callback_ips_wide": Rule(
            _W,
            "Each of those addresses may claim that a payment was made.",
            "Name the two sender addresses of ZEUS's manual, and no network around them.",
        ),
        "settings.callback_token_missing": Rule(
            _A,
            "The sender's address is then the only lock on the callback.",
            "Set ZEUS_CVS_CALLBACK_TOKEN to a long random text, and tell ZEUS the URL with it at the end:\n"
            "python -c 'import secrets; print(secrets.token_urlsafe(24))'",
        ),
        "settings.callback_token_short": Rule(
            _W,
            "A short token can be guessed.",
            "Make a longer one, list both in ZEUS_CVS_CALLBACK_TOKEN until ZEUS calls the new URL, then drop the old:\n"
            "python -c 'import secrets; print(secrets.token_urlsafe(24))'",
        ),
        "settings.test_mode": Rule(
            _E,
            "Every application is a test: customers get slips that no till takes money for.",
            "Remove ZEUS_CVS_TEST_ID and ZEUS_CVS_TEST_TYPE once the operation test is done. During it, add "
            "--ignore settings.test_mode.",
        ),
        "settings.test_fulfills": Rule(
            _W,
            "A test that was 'paid' makes goods ship, and nobody has paid.",
            "Remove ZEUS_CVS_TEST_FULFILLS.",
        ),
        "settings.demo_client_ip": Rule(
            _E,
            "ZEUS does not know this shop: no customer gets a slip.",
            "Set ZEUS_CVS_CLIENT_IP to the 10 digits that ZEUS issued to you.",
        ),
        "settings.endpoint_loopback": Rule(
            _E,
            "Applications go to a sandbox: customers get slips that no till knows.",
            "Remove ZEUS_CVS_ENDPOINT, so that ZEUS's own is used.",
        ),
        "settings.endpoint_other": Rule(
            _A,
            "Customers' details are sent there.",
            "Remove ZEUS_CVS_ENDPOINT, unless ZEUS told you to use this one.",
        ),
        "settings.transport": Rule(
            _E,
            "Applications are carried by an adapter meant for tests, and may never reach ZEUS.",
            "Remove ZEUS_CVS_TRANSPORT.",
        ),
        "settings.https_not_required": Rule(
            _E,
            "Names, phone numbers and payment numbers can be read on their way.",
            "Remove ZEUS_CVS_REQUIRE_HTTPS=False. If the shop then takes https for http, its proxy needs ProxyFix with "
            "x_proto=1.",
        ),
        "settings.delivery_inline": Rule(
            _W,
            "Receivers run while ZEUS waits for the answer to its notice: a slow mail server makes ZEUS give up.",
            "Set ZEUS_CVS_DELIVERY to background, or to deferred with cron.",
        ),
        "settings.pay_within_days": Rule(
            _A,
            "ZEUS does not document the parameter that it sends, and may refuse or ignore it.",
            "Remove ZEUS_CVS_PAY_WITHIN_DAYS, unless ZEUS told you that it works.",
        ),
        "settings.timeouts_long": Rule(
            _A,
            "gunicorn ends a worker after 30 seconds, and the customer sees an error page while a slip may exist.",
            "Lower ZEUS_CVS_READ_TIMEOUT, or raise the server's own time-out beyond the two together.",
        ),
        "settings.secret_key_missing": Rule(
            _E,
            "The checkout form cannot be made safe against forgery, so no customer can apply.",
            "Set SECRET_KEY to a long random text, the same for every worker:\n"
            "python -c 'import secrets; print(secrets.token_hex())'",
        ),
        "settings.secret_key_short": Rule(
            _W,
            "A key that can be guessed lets others forge sessions and forms.",
            "Set SECRET_KEY to a long random text, the same for every worker:\n"
            "python -c 'import secrets; print(secrets.token_hex())'",
        ),
        "settings.cookie_insecure": Rule(
            _W,
            "A session that travels unencrypted, or that scripts can read, can be stolen.",
            "Set SESSION_COOKIE_SECURE=True, and leave SESSION_COOKIE_HTTPONLY as it is.",
        ),
        "settings.texts_unknown": Rule(
            _W,
            "A text that names none of ours is shown nowhere: customers read ours instead.",
            "Copy the Japanese text exactly, as docs/3-pages.md says; it may have changed with an update.",
        ),
        # database
        "database.refused": Rule(
            _E, "What belongs together would not be stored together.", "Change what the message names."
        ),
        "database.away": Rule(
            _E,
            "No customer can apply, and notices are answered 500. What payments say was not looked at.",
            "Start the database, or correct SQLALCHEMY_DATABASE_URI.",
        ),
        "database.tables_missing": Rule(
            _E,
            "Whatever needs them fails. What payments say was not looked at.",
            "Run the migration: flask db migrate, look at it, flask db upgrade. Without Flask-Migrate: db.create_all().",
        ),
        "database.columns_missing": Rule(
            _E,
            "Whatever needs them fails. What payments say was not looked at.",
            "Run the migration that belongs to the update: flask db migrate, look at it, flask db upgrade.",
        ),
        "database.keys_missing": Rule(
            _E,
            "They see that a notice counts once, however many workers take it.",
            "Add them by a migration: flask db migrate, look at it, flask db upgrade.",
        ),
        "database.indexes_missing": Rule(
            _W,
            "Without them the callback gets slower with every payment.",
            "Add them by a migration: flask db migrate, look at it, flask db upgrade.",
        ),
        "database.sqlite_journal": Rule(
            _W,
            "Readers and the writer lock each other out: notices wait, or are answered 500.",
            "Set the pragma journal_mode = WAL on each connection: see docs/2-settings.md.",
        ),
        "database.sqlite_busy": Rule(
            _W,
            "A writer that meets another one gives up at once, instead of waiting.",
            "Set the pragma busy_timeout = 10000 on each connection: see docs/2-settings.md.",
        ),
        "database.sqlite_synchronous": Rule(
            _W,
            "A notice that was answered with OK can be lost when the power fails.",
            "Set the pragma synchronous = FULL on each connection: see docs/2-settings.md.",
        ),
        "database.durability": Rule(
            _W,
            "A notice that was answered with OK can be lost when the database's machine fails.",
            "Leave the setting at its default on the server.",
        ),
        "database.engine": Rule(
            _E,
            "Without transactions a notice can be half stored, and two workers can ship the same order.",
            "Convert the tables: ALTER TABLE … ENGINE=InnoDB.",
        ),
        "database.isolation": Rule(
            _A,
            "Receivers, which run in your session, lose races that the database resolves by an error; they are tried "
            "again later.",
            "Leave the isolation level at the database's default, if nothing else needs another.",
        ),
        "database.timeouts": Rule(
            _A,
            "Whoever waits for a lock that long, or a receiver that talks to a slow mail server, is cut off.",
            "Raise it for the shop's role, or set it only where you need it.",
        ),
        # clock
        "clock.database": Rule(
            _W,
            "With clocks that differ, machines disagree on what is due and when a slip expires.",
            "Have every machine's clock set over the network (NTP).",
        ),
        "clock.server": Rule(
            _W,
            "With clocks that differ, machines disagree on what is due and when a slip expires.",
            "Have every machine's clock set over the network (NTP).",
        ),
        "clock.zone": Rule(
            _A,
            "The extension does without; code of yours that asks for Japan's time zone by name fails.",
            "pip install tzdata",
        ),
        # callback
        "callback.not_asked": Rule(
            _A,
            "Whether ZEUS can reach the callback, and what a proxy makes of it, was not looked at.",
            "Say where the shop is:\nflask zeus-cvs check --url https://shop.example",
        ),
        "callback.plain_http": Rule(
            _W,
            "Notices hold names and phone numbers, and can be read on their way.",
            "Give ZEUS an https URL.",
        ),
        "callback.unknown_host": Rule(_E, _NOTHING_HEARD, "Correct the URL, or the name's entry in the DNS."),
        "callback.unreachable": Rule(
            _E,
            _NOTHING_HEARD,
            "See that the server runs and that the firewall lets ZEUS's addresses in.",
        ),
        "callback.timeout": Rule(
            _E,
            "ZEUS hangs up after 40 seconds, and may be let wait at the same place.",
            "See that the server runs, that a worker is free, and that a firewall does not swallow the call.",
        ),
        "callback.tls": Rule(
            _E,
            _NOTHING_HEARD,
            "Renew the certificate, have it name this host, and have the server send the whole chain. If the shop's "
            "own authority signed it, name that in REQUESTS_CA_BUNDLE.",
        ),
        "callback.redirected": Rule(
            _E,
            "ZEUS takes any answer but 200 for a failure, and follows no redirect.",
            "Give ZEUS the URL to which it leads, if that is the callback; else have the rule leave the callback out.",
        ),
        "callback.login": Rule(
            _E,
            "ZEUS has no password. " + _NOTHING_HEARD,
            "Have the login leave the callback out: it has a lock of its own.",
        ),
        "callback.not_found": Rule(
            _E,
            _NOTHING_HEARD,
            "Compare URL, ZEUS_CVS_URL_PREFIX and ZEUS_CVS_CALLBACK_TOKEN here with those of the running server, and "
            "restart it after a change. Below a path of its own, the shop needs it in --url.",
        ),
        "callback.wall": Rule(
            _E,
            "Something in front of the shop turns callers away before the shop sees them. " + _NOTHING_HEARD,
            "Have the firewall, CDN or bot guard leave the callback's path alone.",
        ),
        "callback.stranger": Rule(
            _E,
            "Something else than the shop answers there. " + _NOTHING_HEARD,
            "Correct the URL, or what the proxy does with it; nothing on that path may be cached.",
        ),
        "callback.failing": Rule(
            _E,
            _NOTHING_HEARD,
            "See the server's log; a 502 or 503 comes from a proxy that does not find the shop.",
        ),
        "callback.other_key": Rule(
            _W,
            "The callback is there, but does not believe that it is asked by this shop, so it says no more.",
            "Run the check with the same SECRET_KEY as the server, and restart the server after an update.",
        ),
        "callback.other_settings": Rule(
            _W,
            "The running server does not go by the settings that the check sees.",
            "Restart the server, and run the check with the same settings.",
        ),
        "callback.kept_away": Rule(
            _E,
            "Code of the shop's own answers in the callback's place, so notices are lost.",
            "Let the callback pass in your before_request functions:\n"
            "if request.endpoint == 'zeus_cvs.callback': return None",
        ),
        # proxy
        "proxy.address": Rule(
            _E,
            "Every caller seems to come from the proxy, so ZEUS is refused, and permitting the proxy would let everyone "
            "in.",
            "Have the proxy send X-Forwarded-For, and read it, for as many proxies as you have:\n"
            "app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)",
        ),
        "proxy.forgeable": Rule(
            _E,
            "Whoever calls can claim to be ZEUS, and goods ship unpaid.",
            "Lower ProxyFix's x_for to the number of proxies that you really have, and have the outermost overwrite "
            "X-Forwarded-For.",
        ),
        "proxy.permitted": Rule(
            _E,
            "The check is not ZEUS. " + _ANYONE,
            "Take that address out of ZEUS_CVS_CALLBACK_IPS. If it is a proxy's, add ProxyFix: see docs/5-callback.md.",
        ),
        "proxy.scheme": Rule(
            _E,
            "The customers' pages refuse plain http, and their links would lead to it.",
            "Have the proxy send X-Forwarded-Proto, and read it:\n"
            "app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)",
        ),
        "proxy.host": Rule(
            _A,
            "Links that the shop makes lead to the other name.",
            "Have the proxy pass the Host header on, or read X-Forwarded-Host with ProxyFix's x_host=1.",
        ),
        # notices
        "notices.none": Rule(
            _A,
            "Which parameters ZEUS sends is not known before the first.",
            "Make a test order:\nflask zeus-cvs test-order",
        ),
        "notices.key_lacking": Rule(
            _E,
            "A notice without it cannot be matched to a payment.",
            "Ask ZEUS's sales staff for all 14 parameters of the CGI call.",
        ),
        "notices.deciding_lacking": Rule(
            _W,
            "Amounts cannot be compared without money; lost answers and re-issued slips cannot be matched without "
            "order_no and sendid.",
            "Ask ZEUS's sales staff for all 14 parameters of the CGI call.",
        ),
        "notices.others_lacking": Rule(
            _A,
            "Nothing depends on them; payment numbers of an application whose answer was lost would stay unknown.",
            "Ask ZEUS's sales staff for all 14 parameters of the CGI call.",
        ),
        "notices.faulty": Rule(
            _W,
            "Values that break the manual's rule are left out of account: perhaps they are in another encoding.",
            "Leave ZEUS_CVS_CALLBACK_ENCODING out, unless ZEUS told you otherwise, and look at one: "
            "flask zeus-cvs show",
        ),
        "notices.no_expiry": Rule(
            _W,
            "ZEUS does not tell of expired slips unless asked to, so nobody puts unsold goods back.",
            "Have cron run flask zeus-cvs expire once an hour, or ask ZEUS for status 03 as well.",
        ),
        # subscribers
        "subscribers.nobody_ships": Rule(
            _E,
            "Customers pay, and the shop does nothing.",
            "Connect a receiver where the app is made:\nfulfillment_ready.connect(ship, sender=app)",
        ),
        "subscribers.nobody_reviews": Rule(
            _A,
            "Money that fits no order is only seen by who looks: flask zeus-cvs check, or the back office.",
            "Connect a receiver to review_required that tells a person.",
        ),
        "subscribers.nobody_hears_silence": Rule(
            _A,
            "A callback that broke is only seen by who reads cron's mail.",
            "Connect a receiver to silence_suspected that tells a person.",
        ),
        "subscribers.stranded": Rule(
            _W,
            "Deliveries are kept for each receiver by its name; nobody of this name is connected here.",
            "Connect it under its old name, connect(receiver, name='…'), or give up what waits:\n"
            "flask zeus-cvs deliver --dismiss NAME",
        ),
        # work
        "work.sweep": Rule(
            _W,
            "Slips that nobody paid stay open, and customers are not reminded of their deadline.",
            "Have cron run it once an hour:\n5 * * * *  flask zeus-cvs expire --quiet",
        ),
        "work.deliver": Rule(
            _A,
            "A delivery that failed is tried again only by a process that is asked for pages meanwhile.",
            "Have cron run it every minute:\n* * * * *  flask zeus-cvs deliver --quiet",
        ),
        "work.overdue": Rule(
            _E,
            "Somebody has paid, and receivers have not been told: goods do not ship.",
            "See that the server runs, or have cron run it every minute:\nflask zeus-cvs deliver --quiet",
        ),
        "work.parked": Rule(
            _W,
            "Each is something that a receiver of the shop's could not do, although it was tried again and again.",
            "flask zeus-cvs deliver lists them. Mend the cause, then --retry, or --dismiss.",
        ),
        "work.reviews": Rule(
            _W,
            "Each is money or a slip that does not fit, and only a person can tell what is right.",
            "flask zeus-cvs resolve lists them, says what each means, and closes them.",
        ),
        "work.unknown": Rule(
            _W,
            "ZEUS may have issued a slip of which the shop knows nothing.",
            "Look the sendid up on ZEUS's screen: flask zeus-cvs list --state unknown, or flask zeus-cvs reconcile.",
        ),
        # live
        "live.no_call": Rule(
            _E,
            "ZEUS tells of every slip that it issues (status 01): the callback is not registered there, or does not "
            "reach the shop.",
            "flask zeus-cvs check --url https://shop.example says what a caller meets. If that is well, ask ZEUS "
            "whether this URL is registered. Afterwards: flask zeus-cvs reconcile.",
        ),
        "live.silence": Rule(
            _E,
            "So long a silence hardly happens by chance: the callback may be broken.",
            "flask zeus-cvs check --url https://shop.example says what a caller meets; ZEUS may be under maintenance, "
            "too. Afterwards: flask zeus-cvs reconcile.",
        ),
        "live.without_01": Rule(
            _A,
            "A broken callback is noticed by missing payments only, hours later than by missing slips.",
            "Ask ZEUS's sales staff to have status 01 sent to the callback as well.",
        ),
    }
)
