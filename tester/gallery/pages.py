"""The gallery's pages: Markdown and pictures, made of exhibits alone, so that the same runs make the same bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tester.gallery.exhibit import WIDTH, Exhibit
from tester.timeline import terminal
from tester.timeline.svg import svg

__all__ = ["INDEX", "index", "pages"]

INDEX = "README.md"

_PLANTED = ".raftlab/planted"
_FOLDER = "docs/gallery"

_LEGEND = (
    f"Time runs downwards; the lanes show {terminal.LEGEND}. An arrow is a message, drawn where it is sent, "
    "and * marks what the verdict is about."
)

_INDEX = """\
# {count} mistakes

Each of these was made by many who wrote a Raft. Every one is planted in the reference, caught by a graded test, and its
run shrunk to what the failure needs: what remains is told in sentences and shown as a timeline. Read the verdict, look
for the cause in the picture, and only then read on.

{table}

The pages are made from the runs in the `.json` files. `tester gallery` writes them anew, `tester gallery --search`
catches and shrinks every mistake again, `tester gallery --check` says whether the pages are what the code makes of the
runs.
[entries.toml](entries.toml) has what we say of each; the folder `tests/mutants` has the mistakes themselves.
"""

_PAGE = """\
# {name}

> “{misconception}”

It {title}. Part {part}; see {section}.

```diff
{difference}
```

## What the judge says

`{test}` catches it under seed {seed}:

> **{verdict}**
{more}
## What the failure needs

{story}

![The timeline of the shrunk run]({mutant}.svg)

{legend}

**What to look for.** {look}

**How to mend it.** {mend}

## See it yourself

```console
$ tester plant {mutant} {solution}
$ pytest {nodeid} --solution {solution} --seed {seed}
$ pytest {nodeid} --solution {solution} --shrunk {kept}
```

The first run is the one that was caught, whole; the second is what is left of it, event for event as it is shown here.

[All mistakes](README.md)
"""


def pages(exhibit: Exhibit, difference: str) -> dict[str, str]:
    """File name -> text of an exhibit's page and picture.

    Args:
        difference: the mistake as a diff.
    """
    entry, mutant, kept = exhibit.entry, exhibit.mutant, exhibit.kept
    page = _PAGE.format(
        name=entry.name,
        misconception=mutant.misconception,
        title=mutant.title,
        part=mutant.part,
        section=mutant.section.removeprefix(f"part {mutant.part}, "),
        difference=difference,
        test=kept.test,
        seed=kept.seed,
        verdict=_escaped(exhibit.verdict),
        more=_more(exhibit),
        story=_story(exhibit),
        mutant=mutant.name,
        legend=_filled(_LEGEND),
        look=_filled(entry.look, "**What to look for.** "),
        mend=_filled(entry.mend, "**How to mend it.** "),
        solution=f"{_PLANTED}/{mutant.name}",
        nodeid=f"{exhibit.test.file}::{kept.test}",
        kept=f"{_FOLDER}/{mutant.name}.json",
    )
    title = f"Timeline of {kept.test}, seed {kept.seed}, shrunk: {exhibit.verdict}"
    return {f"{mutant.name}.md": page, f"{mutant.name}.svg": svg(exhibit.picture, width=WIDTH, title=title)}


def index(exhibits: Sequence[Exhibit]) -> str:
    """The gallery's first page."""
    rows = ["| | mistake | part | what the judge says |", "|--:|---|---|---|"]
    for number, exhibit in enumerate(exhibits, start=1):
        link = f"[{exhibit.entry.name}]({exhibit.mutant.name}.md)"
        rows.append(f"| {number} | {link} | {exhibit.mutant.part} | {_escaped(exhibit.verdict)} |")
    count = {10: "Ten"}.get(len(exhibits), str(len(exhibits)))
    return _INDEX.format(count=count, table="\n".join(rows))


def _more(exhibit: Exhibit) -> str:
    """What the report says beside the verdict."""
    parts = []
    if exhibit.symptoms:
        parts.append("What follows from it, in the same run:")
        parts.append("\n".join(f"- {_escaped(symptom)}" for symptom in exhibit.symptoms))
    if exhibit.warnings:
        parts.append("The lab warns too:")
        parts.append("\n".join(f"- {_escaped(warning)}" for warning in exhibit.warnings))
    if exhibit.detail:
        parts.append("Its threads at that instant:")
        parts.append(f"```text\n{exhibit.detail.rstrip()}\n```")
    return "".join(f"\n{part}\n" for part in parts)


def _story(exhibit: Exhibit) -> str:
    if not exhibit.story:
        return f"{exhibit.left[0].upper()}{exhibit.left[1:]}."
    sentences = "\n".join(f"{sentence.at / 1e9:9.4f} s  {sentence.text}" for sentence in exhibit.story)
    return f"{exhibit.left}:\n\n```text\n{sentences}\n```"


def _filled(text: str, heading: str = "") -> str:
    """`text` in lines of 120 characters, the first after `heading`."""
    return textwrap.fill(" ".join(text.split()), 120, initial_indent=heading).removeprefix(heading)


def _escaped(text: str) -> str:
    """`text` as Markdown shows it unchanged, in tables too."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return text
