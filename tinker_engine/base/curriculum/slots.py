"""Names, places, firms and other fillers. All persons and firms are invented."""
# ruff: noqa: E501, SIM905  # phrase lists read best one entry to a line

import random
from collections.abc import Callable, Sequence

FIRST = (
    "Ada Amir Anouk Arno Ayla Bela Bruno Carla Cem Dario Dina Edda Eli Emre Enzo Fay Femi Gita Greta Hana Hugo "
    "Ilse Imani Ines Ivo Jana Jonas Juno Kaja Karim Kofi Lars Leila Lena Lina Luca Mara Marek Mila Mina Nadia "
    "Nils Noor Odin Olga Omar Otis Paula Pavel Petra Quinn Rafi Rana Remi Rosa Ruben Sana Selma Simon Sofia Sven "
    "Tara Theo Tilda Tomas Uma Vera Viktor Wanda Willa Yara Yusuf Zadie Zeno Zora"
).split()
LAST = (
    "Abbot Adeyemi Alder Amsel Barlow Becker Berg Bianchi Birch Boateng Brandt Calder Castell Cho Conti Dahl "
    "Delgado Dorn Duarte Eder Ekberg Fagan Falk Farrow Ferrer Fischer Gallo Garner Grove Haas Hale Holm Hurst "
    "Ibarra Jansen Kade Keller Kimura Kovac Lang Larsen Linden Lopes Marsh Meyer Moreau Nagy Novak Nowak Okafor "
    "Olsen Palmer Pereira Petrov Quist Ramos Reyes Rossi Sato Scholz Silva Stone Sutter Tanaka Thorne Ueda Vance "
    "Varga Vogel Weiss Winter Wolff Yilmaz Young Zapata Zeller"
).split()
CITIES = (
    "Lisbon Oslo Graz Porto Lyon Turin Bergen Cork Leeds Ghent Basel Malmo Split Riga Tartu Vigo Bari Nantes "
    "Dresden Aarhus Utrecht Zagreb Krakow Sofia Athens Cadiz Parma Linz Bonn Bath York Tampere Gdansk Brno Kosice"
).split()
COUNTRIES = (
    "Norway Portugal Japan Mexico Kenya Poland Greece Canada Brazil Vietnam Morocco Chile Iceland Croatia Ghana "
    "Peru Turkey Finland Ireland Thailand Egypt Spain Hungary Jordan Malta Nepal"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December".split()
)
WHEN = (
    "last week,two days ago,a month ago,yesterday,on Monday,ten days ago,in March,last Friday,this morning,"
    "three weeks ago,the other day,just now,before Easter,last night,over the weekend"
).split(",")
COLOURS = "red blue green black white grey yellow orange purple brown silver pink".split()
THINGS = (
    "lamp chair kettle bicycle tent backpack rug mirror clock desk drill guitar blanket jacket camera toaster "
    "notebook candle scarf umbrella helmet printer speaker basket ladder teapot mug pillow puzzle radio sofa vase "
    "whistle wallet hammer kite globe bucket saddle flute"
).split()
FRUIT = "apple pear plum fig cherry peach lemon mango grape melon kiwi banana apricot date lime quince".split()
ANIMALS = "fox otter heron badger lynx hare crow seal mole newt wolf goat mare swan toad owl bee deer crab".split()
FIRM_HEADS = (
    "Alpen Amber Anker Birke Blue Brook Cedar Clover Copper Coral Delta Echo Elm Ember Fern Fjord Flint Gale Glen "
    "Harbour Hazel Heron Iris Juniper Kestrel Lark Linde Lumen Maple Meadow Mist North Oak Onyx Opal Orchard "
    "Pebble Pine Quarry Raven Reed Ridge River Rowan Sable Sage Slate Summit Swift Thistle Tide Vale Willow Wren"
).split()
FIRM_TAILS = (
    "Works,Labs,& Sons,Travel,Foods,Logistics,Books,Energy,Studio,Insurance,Hotels,Tools,Media,Clinic,Farms,"
    "Textiles,Motors,Outdoor,Bakery,Furniture,Software,Telecom,Rail,Gym,Store,Supply,Partners,Group,Pharmacy"
).split(",")
CURRENCY = (
    "${}",
    "£{}",
    "€{}",
    "{} euros",
    "{} dollars",
    "{} pounds",
    "{} USD",
    "{} kr",
    "{} francs",
)


def person(rng: random.Random) -> str:
    """First and last name."""
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def firm(rng: random.Random) -> str:
    """Name of an invented firm."""
    return f"{rng.choice(FIRM_HEADS)} {rng.choice(FIRM_TAILS)}"


def number(rng: random.Random) -> str:
    """A small whole number."""
    return str(rng.choice((rng.randint(2, 12), rng.randint(2, 40), rng.randint(3, 400))))


def amount(rng: random.Random) -> str:
    """A sum of money in one of several notations."""
    value = rng.choice(
        (
            f"{rng.randint(1, 99)}",
            f"{rng.randint(1, 20)}0",
            f"{rng.randint(1, 99)}.{rng.randint(0, 99):02d}",
        )
    )
    return rng.choice(CURRENCY).format(value)


def price(rng: random.Random, symbol: str = "$") -> str:
    """A price with its symbol in front."""
    return f"{symbol}{rng.randint(1, 300)}.{rng.randint(0, 99):02d}"


def email(rng: random.Random, name: str = "") -> str:
    """An address at an invented host, of the named person if given."""
    first, last = (name or person(rng)).lower().split(" ", 1)
    separator = rng.choice((".", "_", "-", ""))
    host = rng.choice(FIRM_HEADS).lower() + rng.choice(("-mail", "post", "", "works", "web"))
    return f"{first}{separator}{last}@{host}.{rng.choice(('example', 'test', 'org', 'net', 'com', 'eu'))}"


def phone(rng: random.Random) -> str:
    """An invented telephone number."""
    return rng.choice(("+{}{} {} {}", "0{}{} {} {}", "({}{}) {}-{}")).format(
        rng.randint(1, 9), rng.randint(0, 9), rng.randint(100, 999), rng.randint(1000, 9999)
    )


def iso_date(rng: random.Random) -> str:
    """A date as YYYY-MM-DD."""
    return f"{rng.randint(2019, 2031)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def long_date(rng: random.Random) -> str:
    """A date with the month in words."""
    month, day, year = rng.choice(MONTHS), rng.randint(1, 28), rng.randint(2019, 2031)
    return rng.choice((f"{day} {month} {year}", f"{month} {day}, {year}"))


def code(rng: random.Random) -> str:
    """An order or file code."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    return f"{letters}{rng.choice(('-', '', '#', '/'))}{rng.randint(100, 99999)}"


def clock(rng: random.Random) -> str:
    """A time of day."""
    return f"{rng.randint(0, 23)}:{rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50)):02d}"


def _pick(values: Sequence[str]) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


SLOTS: dict[str, Callable[[random.Random], str]] = {
    "person": person, "firm": firm, "number": number, "amount": amount, "email": email, "phone": phone,
    "date": long_date, "code": code, "time": clock, "when": _pick(WHEN), "day": lambda rng: "on " + rng.choice(DAYS),
    "city": _pick(CITIES), "country": _pick(COUNTRIES), "month": _pick(MONTHS), "thing": _pick(THINGS),
    "colour": _pick(COLOURS), "first": _pick(FIRST),
}  # fmt: skip


def fill(text: str, rng: random.Random) -> str:
    """The text with every `[slot]` replaced; unknown names in brackets stay as they are."""
    pieces = text.split("[")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, closed, rest = piece.partition("]")
        out.append(SLOTS[name](rng) + rest if closed and name in SLOTS else "[" + piece)
    return "".join(out)
