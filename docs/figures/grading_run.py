"""A grading, from what students handed in to what is handed back."""

from drawing import Drawing

__all__ = ["draw"]


def draw() -> Drawing:
    """From top to bottom."""
    drawing = Drawing(
        400,
        470,
        "Submissions are taken in with limits, planned as one job a run, run by workers whose servers and clerks are "
        "sandboxed processes, stored a row a run, and made into reports.",
    )
    drawing.box(16, 14, 176, 40, "submissions", "folders, archives, git", kind="plain")
    drawing.box(208, 14, 176, 40, "course.toml, secret", "rules; hidden seeds", kind="plain")
    drawing.arrow((104, 54), (104, 78))
    drawing.box(16, 78, 176, 40, "intake", "limits on everything", kind="judge")
    drawing.arrow((192, 98), (208, 98))
    drawing.arrow((296, 54), (296, 78))
    drawing.box(208, 78, 176, 40, "plan", "one job a test and seed", kind="judge")
    drawing.arrow((296, 118), (296, 148))
    drawing.text(290, 138, "this machine, or Dask", "s", anchor="end", dim=True)

    drawing.box(16, 148, 368, 156, kind="plain", dashed=True)
    drawing.text(28, 165, "worker process: one job at a time", "s", dim=True)
    drawing.box(208, 174, 164, 54, "judge", "network, rules, checker", "runs no submission", kind="judge")
    drawing.box(28, 252, 104, 40, "server 0", "sandboxed", kind="code")
    drawing.box(144, 252, 104, 40, "server 1", "sandboxed", kind="code")
    drawing.box(260, 252, 112, 40, "clerk c0", "sandboxed", kind="code")
    for x in (80, 196, 316):
        drawing.line((x, 252), (x, 240))
    drawing.line((80, 240), (316, 240))
    drawing.line((290, 228), (290, 240))
    drawing.text(28, 196, "own namespaces, no", "s", dim=True)
    drawing.text(28, 210, "network, few system calls", "s", dim=True)

    drawing.arrow((200, 304), (200, 334))
    drawing.text(206, 324, "outcome; in doubt: tried again", "s", dim=True)
    drawing.box(76, 334, 248, 40, "grades.sqlite", "a row a run, written as it comes", kind="data")
    drawing.arrow((200, 374), (200, 404))
    drawing.text(206, 394, "the same rows, the same bytes", "s", dim=True)
    drawing.box(16, 404, 116, 52, "class", "index.html", "class.csv", kind="plain")
    drawing.box(142, 404, 116, 52, "each student", "report.html", "timelines", kind="plain")
    drawing.box(268, 404, 116, 52, "Gradescope", "results.json", kind="plain")
    return drawing
