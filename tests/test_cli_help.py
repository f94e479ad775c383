"""The help of the command line: every command has one that can be printed, and it names every option."""
import argparse

import pytest

from cryosgd_plugin.cli import build_parser, main


def commands():
    """name → parser of each command."""
    action, = (one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))
    return action.choices


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_names_every_option(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    # the usage before it names the options too
    described = capsys.readouterr().out.partition("  -h, ")[2].split()
    words = {word.rstrip(",") for word in described}
    options = [option for action in commands()[name]._actions for option in action.option_strings]
    assert "--help" in options and not set(options) - words - {"-h"}
    assert not [word for word in described if "%%" in word or "%(" in word]


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    words = capsys.readouterr().out.split()
    assert len(commands()) > 15 and not set(commands()) - set(words)
