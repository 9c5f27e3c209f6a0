"""The Helm chart lints, renders and is valid for both ways to approve swaps; bad values are not.

Everything runs offline: Helm's own code lints and renders, and the objects are held against the
schemas of the Kubernetes API at the oldest and the newest version that the chart is for.
"""

from __future__ import annotations

from evidence._chart_checks import MODES, REFUSED, documents, insecure, invalid, lint_problems
from evidence._report import conclude


def main() -> None:
    """Check both modes, then what has to be refused."""
    figures: dict[str, object] = {}
    problems: list[str] = []
    for mode, values in MODES.items():
        objects = documents(values)
        found = [*lint_problems(values), *invalid(objects), *insecure(objects)]
        approval = [
            e["value"]
            for d in objects if d["kind"] == "StatefulSet"
            for c in d["spec"]["template"]["spec"]["containers"]
            for e in c["env"] if e["name"] == "TENSAFE_SWAP_APPROVAL"
        ]  # fmt: skip
        if approval != [mode]:
            found.append(f"the engine is told {approval}, not {mode}")
        print(f"{mode}: {len(objects)} objects, {len(found)} problems", *found, sep="\n  ")
        figures[mode] = {"objects": len(objects), "problems": len(found)}
        problems += found
    for what, values in REFUSED.items():
        refused = bool(lint_problems(values))
        print(f"{'refused' if refused else 'TAKEN'}: {what}")
        problems += [] if refused else [what]
    figures["refused_values"] = len(REFUSED)
    conclude("chart", figures, holds=not problems)


if __name__ == "__main__":
    main()
