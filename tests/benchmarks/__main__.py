"""python -m tests.benchmarks [receive] [tls] [acceptor] [hostile] [decode] [engine] [end_to_end] [results] [drift]
[night] [studies] [web] [pictures] [--quick] [--json FILE]

Every ratio is of two measures taken in the same run, turn by turn. Absolute numbers belong to the machine named above
them.
"""

import argparse
from importlib import import_module
from pathlib import Path

NAMES = (
    "receive",
    "tls",
    "acceptor",
    "hostile",
    "decode",
    "engine",
    "end_to_end",
    "results",
    "drift",
    "night",
    "studies",
    "web",
    "pictures",
)


def main() -> None:
    # Imported here: decoder processes import this module too, and need none of it.
    from rich.console import Console

    from tests.benchmarks.report import hardware, show, write_json

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n\n")[1])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer films and rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every result here too")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    console = Console() if Console().is_terminal else Console(width=140)
    machine = hardware()
    console.print(" · ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
    console.print("min / [bold]median[/bold] / max over the rounds\n", highlight=False)
    results = {}
    for name in options.names or NAMES:
        results[name] = import_module(f"tests.benchmarks.{name}").run(quick=options.quick)
        for section in results[name]:
            show(section, console)
        if options.json:
            write_json(options.json, machine, results)


if __name__ == "__main__":
    main()
