"""`orchestrator completion`: scripts that complete commands, options, choices and files.

They are made of the parser, so that they know every option, and run no program at a key press but
for `call`: see `proposals`.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

from orchestrator.cli.arguments import build_parser
from orchestrator.cli.parser import path
from orchestrator.cli.streams import write

BASH = """\
_orchestrator_values() {
  local line="${COMP_LINE:0:COMP_POINT}" word head=""
  local typed="${line##*[[:space:]]}"
  # bash completes only what stands behind the last ":" or "=".
  if [ -z "$ZSH_VERSION" ]; then
    case "$typed" in *[:=]*) head="${typed%"${typed##*[:=]}"}" ;; esac
  fi
  compopt +o filenames 2>/dev/null  # these are no files, whose "=" would be quoted
  while IFS= read -r word; do
    case "$word" in *[:=]) compopt -o nospace 2>/dev/null ;; esac
    COMPREPLY+=("${word#"$head"}")
  done < <(orchestrator completion values "$line" 2>/dev/null)
}
_orchestrator() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"
  local words="" files="" name
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="@COMMANDS@"
  else
    case "${COMP_WORDS[1]}" in
@CASES@
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ -n "$files" ]; then
    while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$current")
  elif [ -z "$words" ] && [ "${COMP_WORDS[1]}" = call ]; then
    _orchestrator_values
  fi
}
complete -o filenames -F _orchestrator orchestrator
"""
ZSH = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"
CASE = """\
      {name})
        case "$previous" in
{values}
          *) case "$current" in -*) words="{options}" ;; *) {positional} ;; esac ;;
        esac ;;"""


def completion(options: argparse.Namespace) -> int:
    """`orchestrator completion`."""
    if options.shell == "values":
        from orchestrator.cli.proposals import propose

        return propose(options.line)
    parser = build_parser()
    assert parser._subparsers is not None
    (group,) = parser._subparsers._group_actions
    assert isinstance(group, argparse._SubParsersAction)
    helps = {choice.dest: choice.help or "" for choice in group._choices_actions}
    made = _fish(group.choices, helps) if options.shell == "fish" else _bash(group.choices)
    write(f"{ZSH}{made}" if options.shell == "zsh" else made, end="")
    return 0


def _bash(commands: dict[str, argparse.ArgumentParser]) -> str:
    cases = []
    for name, command in commands.items():
        valued = [each for each in command._actions if each.option_strings and each.nargs != 0]
        values = [f"          {'|'.join(each.option_strings)}) {_sets(each)} ;;" for each in valued]
        options = " ".join(name for each in command._actions for name in each.option_strings)
        positional = next(filter(None, map(_sets, _positional(command))), "")
        cases.append(
            CASE.format(
                name=name,
                values="\n".join(values) or "          '') ;;",
                options=options,
                positional=positional or ":",
            )
        )
    return BASH.replace("@COMMANDS@", " ".join(commands)).replace("@CASES@", "\n".join(cases))


def _positional(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (each for each in command._actions if not each.option_strings)


def _sets(action: argparse.Action) -> str:
    """What sets the completions of a value in bash."""
    if action.choices:
        return f'words="{" ".join(map(str, action.choices))}"'
    return "files=1" if _is_file(action) else ":" if action.option_strings else ""


def _is_file(action: argparse.Action) -> bool:
    return action.type in (Path, path) or action.metavar in ("FILE", "FILE|URL")


def _fish(commands: dict[str, argparse.ArgumentParser], helps: dict[str, str]) -> str:
    values = "(orchestrator completion values (commandline -cp | string collect) 2>/dev/null)"
    lines = [
        "complete -c orchestrator -f",
        f"complete -c orchestrator -n '__fish_seen_subcommand_from call' -a '{values}'",
    ]
    for name, command in commands.items():
        start = f"complete -c orchestrator -n '__fish_seen_subcommand_from {name}'"
        about = shlex.quote(helps[name])
        lines.append(f"complete -c orchestrator -n __fish_use_subcommand -a {name} -d {about}")
        for action in command._actions:
            names = [
                f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}"
                for each in action.option_strings
            ]
            if action.choices:
                names.append(f"-xa '{' '.join(map(str, action.choices))}'")
            elif _is_file(action):
                names.append("-rF" if names else "-F")
            elif not names:
                continue
            elif action.nargs != 0:
                names.append("-x")
            lines.append(f"{start} {' '.join(names)} -d {shlex.quote(_first_part(action))}")
    return "\n".join([*lines, ""])


def _first_part(action: argparse.Action) -> str:
    """The help of an option up to its first semicolon, without what argparse fills in."""
    return (action.help or "").partition(";")[0].partition(":")[0].replace("%%", "%")
