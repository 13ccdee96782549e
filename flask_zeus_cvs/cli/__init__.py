"""The commands of ``flask zeus-cvs``. Each is imported when it is called: no worker needs the drill's sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

import click
from flask.cli import AppGroup

from flask_zeus_cvs.settings import Settings

#: Each command, in the order of the help page, and where it is: a module of this package, and its name there.
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "check": "check:check",
        "list": "list:list_payments",
        "show": "show:show",
        "deliver": "deliver:deliver",
        "expire": "expire:expire",
        "resolve": "resolve:resolve",
        "reset-attempts": "reset_attempts:reset_attempts",
        "reconcile": "reconcile:reconcile",
        "export": "export:export",
        "purge": "purge:purge",
        "test-order": "test_order:test_order",
        "drill": "drill:drill",
    }
)


def make_commands(settings: Settings) -> AppGroup:
    """Make the command group of one app, under the name that its settings give."""
    return _Commands(settings.cli_group, help="Convenience-store payment through ZEUS.")


class _Commands(AppGroup):
    """A group that imports a command when somebody asks for it."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*COMMANDS, *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return super().get_command(context, name)
        module, attribute = COMMANDS[name].split(":")
        command = getattr(import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command
