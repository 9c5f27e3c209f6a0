"""Write docs/cli.md from the commands themselves, so that it can't disagree with `--help`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from aragora.cli import application as aragora_application
from aragora.config import AragoraConfig
from tensafe.cli import application as tensafe_application
from tinker_engine.cli import app as engine_app
from tinker_engine.config import EngineConfig

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
OTHERS = (
    ("TINKER_ENGINE_CONFIG", "TOML file of the engine's settings, as `serve --config`.", ""),
    ("TINKER_BASE_URL", "Tinker-compatible server to use instead of the embedded engine.", ""),
    ("TINKER_API_KEY", "Key for that server; alone, it selects hosted Tinker.", ""),
    ("TINKER_BASE_MODEL", "Base model on hosted Tinker.", ""),
    ("TENSAFE_HOME", "Folder of signing keys, trust and privacy register.", "`~/.tensafe`"),
    ("TENSAFE_KEY_PASSPHRASE", "Passphrase of the signing key where no terminal can ask.", ""),
    ("TENSAFE_SWAP_APPROVAL", "`meta_agent` or `human_in_loop`, for all slots of a host.", ""),
    ("TENSAFE_SWAP_APPROVERS", "Fingerprints of those who may approve, with commas.", ""),
    ("TENSAFE_CONTROL_KEY", "Key of the control API of a host of slots.", "random"),
    ("TENSAFE_CONTROL_URL", "Host of slots to ask, instead of the one on this machine.", ""),
    ("SHARED_DATA", "Folder with the real data that some tests and claims use.", ""),
)
HEAD = """# Commands

Written by `python -m tools.cli_docs` from the commands themselves; `make check` compares.

Results go to stdout (`--json` for machines), progress to stderr. Exit codes: 0 done, 1 failed,
2 wrong usage, 3 a quality gate said no, 4 verification failed. Shell completion:
`tensafe --install-completion`.
"""


def leaves(name: str, command: Any) -> list[tuple[str, Any]]:
    """Every command that does something, by its full words."""
    children = getattr(command, "commands", None)
    if not children:
        return [(name, command)]
    return [leaf for n, child in children.items() for leaf in leaves(f"{name} {n}", child)]


def root(name: str) -> str:
    """The program's name in a command's full words."""
    return name.split(" ", 1)[0]


def described(name: str, command: Any) -> str:
    """One command with its options and examples."""
    lines = [f"## {name}", "", (command.help or "").strip(), ""]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    if arguments:
        words = " ".join((p.metavar or p.name).upper() for p in arguments)
        lines += [f"Arguments: `{words}`", ""]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    if options:
        lines += ["| option | meaning | default |", "|---|---|---|"]
        for option in options:
            names = ", ".join(f"`{o}`" for o in (*option.opts, *option.secondary_opts))
            default = "" if option.default in (None, ()) else f"`{option.default}`"
            meaning = (option.help or "").replace("|", "\\|")
            lines.append(f"| {names} | {meaning} | {'' if option.required else default} |")
        lines.append("")
    epilog = command.epilog
    if epilog and f"{root(name)} " in epilog:
        # typer re-flows what stands in column 0, so examples are indented or stand alone.
        examples = [line.strip() for line in epilog.splitlines() if f"{root(name)} " in line]
        lines += ["```bash", *examples, "```", ""]
    return "\n".join(lines)


def text() -> str:
    """The whole page."""
    parts = [HEAD]
    programs = (
        ("tensafe", tensafe_application()),
        ("aragora", aragora_application()),
        ("tinker-engine", engine_app),
    )
    for program, app in programs:
        parts += [described(n, c) for n, c in leaves(program, typer.main.get_command(app))]
    return "\n".join([*parts, environment()])


def environment() -> str:
    """The environment variables: the engine's settings, then the rest by hand."""
    lines = ["## Environment", "", "| variable | meaning | default |", "|---|---|---|"]
    for name, field in EngineConfig.model_fields.items():
        default = field.get_default()
        shown = "" if default is None or field.default_factory else f"`{default}`"
        lines.append(f"| `TINKER_ENGINE_{name.upper()}` | {field.description} | {shown} |")
    for name, field in AragoraConfig.model_fields.items():
        shown = "`~/.aragora`" if name == "home" else ""
        lines.append(f"| `ARAGORA_{name.upper()}` | {field.description} | {shown} |")
    lines += [f"| `{name}` | {meaning} | {default} |" for name, meaning, default in OTHERS]
    lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
