"""The gallery: mistakes that students make, each with its verdict, its shrunk run, its story and its picture.

    entries.toml + tests/mutants --catch, shrink--> NAME.json --replay--> NAME.md, NAME.svg, README.md

Only the search takes long. The kept runs, NAME.json, are small and enough to make all pages again, to the byte.
"""
