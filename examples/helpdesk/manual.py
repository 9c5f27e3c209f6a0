"""The helpdesk manual as a PDF: some pages of prose, then questions and answers.

Written with reportlab in invariant mode (no date, no random identifier), so that the same cases
give the same bytes. Questions are kept short enough for one line, as a printed list has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from messages import Case

#: A question that is longer would break over two lines of the page.
LONGEST_QUESTION = 92

CHAPTERS: Sequence[tuple[str, Sequence[str]]] = (
    (
        "1 About this manual",
        (
            "Veldrun builds electric bicycles in Harwick and sells them through its own shop in "
            "Tollmere, its web shop and forty dealers. This manual is for the people who read "
            "incoming messages. It says what each of the seven teams does, and it closes with a "
            "list of questions as customers and colleagues really put them.",
            "Read a message to its end before you pass it on. Many writers name a product first "
            "and the trouble last. A letter that mentions a pack may be about a parcel, and one "
            "that mentions a lock may be about money. What counts is what the writer wants done.",
            "If a message holds two wishes, pass it to the team of the more urgent one and leave a "
            "note. Theft comes before everything else, then heat and smoke, then brakes.",
        ),
    ),
    (
        "2 Packs and charging",
        (
            "The Battery Bench looks after the K400 and K600 packs and the Plugo charger. It tests "
            "capacity, exchanges cells and takes back old packs. A pack that swells, hisses or "
            "smells is put outside at once; the Bench sends a fire-proof box the same day.",
            "A K400 holds 400 watt-hours and weighs 2.4 kg; a K600 holds 600 watt-hours and weighs "
            "3.3 kg. A Plugo fills a K400 in 3 hours and a K600 in 4.5 hours. Store packs between "
            "10 and 20 degrees at roughly half charge.",
        ),
    ),
    (
        "3 Mechanics",
        (
            "The Repair Barn mends whatever turns, holds or brakes: wheels, chains, belts, forks, "
            "frames and motors. It also does the yearly service, which takes two working days in "
            "summer and one in winter.",
            "Brake pads of the Bison wear faster than those of the lighter models. The Barn "
            "changes them below 1.5 mm. Crank bolts are tightened to 38 newton metres, stem bolts "
            "to 6.",
        ),
    ),
    (
        "4 Goods on the road",
        (
            "The Freight Desk in Ossing books couriers, prints return labels and traces what got "
            "lost. Bicycles travel in a carton of 180 by 95 by 30 centimetres. Damage to a carton "
            "is noted before the driver leaves and sent in with two photographs.",
        ),
    ),
    (
        "5 Software",
        (
            "The App Studio writes the Veldrun Ride app and the software of the display. It "
            "answers for pairing, updates, logins, maps and saved rides. The display talks to one "
            "phone at a time; a second phone has to wait until the first has let go.",
        ),
    ),
    (
        "6 Money",
        (
            "The Invoice Room writes bills, pays refunds and looks after instalments, vouchers and "
            "gift cards. A refund leaves the house within five working days after the goods were "
            "checked. Firms receive bills with their tax number on request.",
        ),
    ),
    (
        "7 Keys and theft",
        (
            "The Lock Watch is on duty day and night. It cuts keys by number, opens Clasp locks, "
            "reads the Beacon tracker and speaks with the police. It never gives a position to a "
            "caller, only to an officer with a case number.",
        ),
    ),
    (
        "8 Our own people",
        (
            "The Staff House is there for those who work at Veldrun: pay, leave, badges, laptops, "
            "rooms and the canteen. Customers never end up there. Sick notes reach it by noon of "
            "the first day.",
        ),
    ),
)


def write_manual(path: Path, cases: Sequence[Case]) -> int:
    """Write the manual; returns the number of questions in it.

    Raises:
        ImportError: reportlab is not installed (it is needed only to make the corpus).
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer

    styles: Any = getSampleStyleSheet()
    body = styles["BodyText"]
    story: list[Any] = [Paragraph("Veldrun helpdesk manual", styles["Title"])]
    for title, paragraphs in CHAPTERS:
        story.append(Paragraph(title, styles["Heading2"]))
        story += [Paragraph(text, body) for text in paragraphs]
    story += [PageBreak(), Paragraph("9 Questions and answers", styles["Heading2"])]
    for case in cases:
        story += [
            Paragraph(_escaped(f"Q: {case.question}"), body),
            Paragraph(_escaped(f"A: {case.answer}"), body),
            Spacer(1, 3),
        ]
    document: Any = SimpleDocTemplate(
        str(path), pagesize=A4, title="Veldrun helpdesk manual", author="Veldrun", invariant=1
    )
    document.build(story)
    return len(cases)


def _escaped(text: str) -> str:
    """The text as reportlab's paragraph markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
