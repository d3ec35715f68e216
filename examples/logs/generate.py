"""Writes a day's log files: `python3 generate.py SEED DIRECTORY`. The same seed gives the same bytes.

A line is `TIME LEVEL SERVICE LATENCYms MESSAGE`, anything else is malformed. Every host writes a file an hour:
`DIRECTORY/DAY/HOST/HOUR.log`. One file is empty, and on one host somebody left debugging on, so that its file is larger
than what a state may read (256 KiB).
"""

import argparse
import random
from pathlib import Path

HOSTS = [f"web-{number:02}" for number in range(1, 14)]
EMPTY = ("web-04", 3)
HUGE = ("web-11", 17)
HUGE_FROM_BYTES = 300 * 1024
SERVICES = {  # name: (usual latency in ms, what it says)
    "accounts": (12, "signed in from São Paulo"),
    "catalog": (8, "listed 24 products"),
    "checkout": (45, "order placed ☕"),
    "payments": (180, "card charged"),
    "search": (30, 'found 17 for "coffee filter"'),
    "shipping": (75, "quoted 3 carriers"),
}
LEVELS = ["DEBUG"] * 3 + ["INFO"] * 14 + ["WARN"] * 2 + ["ERROR"]


class Chance(random.Random):
    """Only random() is promised to give the same numbers with every Python."""

    def below(self, bound):
        return int(self.random() * bound)

    def one_of(self, values):
        return values[self.below(len(values))]


def line(chance, day, hour):
    """A good line."""
    time = f"{day}T{hour:02}:{chance.below(60):02}:{chance.below(60):02}.{chance.below(1000):03}Z"
    level, service = chance.one_of(LEVELS), chance.one_of(list(SERVICES))
    usual, message = SERVICES[service]
    slow = chance.random()
    latency = int(usual * (0.5 + chance.random()) * (1 + 40 * slow * slow * slow * slow * slow * slow))
    if level == "ERROR":
        latency, message = latency * 10, "upstream timed out, giving up"
    return f"{time} {level} {service} {latency}ms {message} request={chance.below(16 ** 8):08x}"


def malformed(chance, good):
    """What disks, careless writers and stack traces make of a line."""
    head = good.index("ms ")
    return chance.one_of([
        good[:chance.below(head)],
        good.replace("ms ", " ", 1),
        good.replace("ms ", ".5ms ", 1),
        good.replace("Z ", "Z NOTICE ", 1),
        good.lower(),
        good[11:],
        "    at shop.cart.Checkout.pay(Checkout.java:42)",
        "",
    ])


def log_file(chance, day, host, hour):
    """Text of one file; by day there is more traffic."""
    lines, size = [], 0
    wanted = 0 if (host, hour) == EMPTY else 30 + chance.below(30 + 10 * min(hour, 24 - hour))
    while len(lines) < wanted or ((host, hour) == HUGE and size < HUGE_FROM_BYTES):
        text = line(chance, day, hour)
        lines.append(malformed(chance, text) if chance.random() < 0.02 else text)
        size += len(text)
    return "".join(text + "\n" for text in lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("seed", type=int)
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--day", default="2026-03-14")
    given = arguments.parse_args()
    chance = Chance(given.seed)
    for host in HOSTS:
        folder = given.directory / given.day / host
        folder.mkdir(parents=True, exist_ok=True)
        for hour in range(24):
            (folder / f"{hour:02}.log").write_bytes(log_file(chance, given.day, host, hour).encode())


if __name__ == "__main__":
    main()
