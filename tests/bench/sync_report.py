"""What sync.py found: each figure by its name, and what was asked for."""

import statistics

OURS = "pc-tarsync"
BARE = "without manifest"
TAR = "tar"
RSYNC = "rsync -a"
FIND = "find -ls"
PEER = "published peer"
EXEC = "ssh true"
COPY = "cp -a"

TMPFS = "/dev/shm"  # where it is judged; a disk is noted beside it

AGAIN = {"in": "10 changes in, ssh", "out": "10 changes back, ssh"}
CHANGED = {"in": "{} changes in, ssh", "out": "{} changes back, ssh"}
NAMES = {"initial": "all of it, ssh", "snapshot": "snapshot, unchanged",
         "merge": "merge alone of 10 changes"}

# Of which benchmark, beside whom, how much of whose time at most.
GOALS = [("pack", TAR, 0.8), ("unpack", TAR, 0.8),
         ("snapshot, unchanged", FIND, 1.5),
         ("all of it, ssh", TAR, 0.9), ("all of it, ssh", RSYNC, 1.0),
         (AGAIN["in"], RSYNC, 0.7), (AGAIN["out"], RSYNC, 0.7)]
MERGE_GOAL = 20
MEMORY_GOAL = 16 * 1024


def figures(found):
    """Each benchmark's name, workspace and figures."""
    for what, by_shape in found.items():
        if what == "skipped":
            continue
        for shape, one in by_shape.items():
            if what == "again":
                for way, name in AGAIN.items():
                    yield name, shape, one[way]
            elif what == "changed":
                for way, name in CHANGED.items():
                    for count, steps in one.items():
                        text = name.format(f"{count:,}").replace(
                            "1 changes", "1 change")
                        yield text, shape, steps[way]
            else:
                yield NAMES.get(what, what), shape, one


def where(parent):
    """Of a place where it is not judged, its name."""
    return "" if parent == TMPFS else f", {parent}"


def text_of(values, digits=2):
    text = f"{statistics.median(values):,.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
    return text


def ratios(one, peer, name=OURS):
    """Round by round."""
    ours, theirs = one["seconds"][name], one["seconds"][peer]
    return [mine / other for mine, other in zip(ours, theirs)]


def goals(results):
    """What print_goals() of bench.py prints; judged on the first parent."""
    judged = next(iter(results), None)
    for parent, found in results.items():
        for row in parent_goals(found or {}, parent):
            yield row if parent == judged else (*row[:3], None)


def parent_goals(found, parent):
    for name, peer, limit in GOALS:
        for what, shape, one in figures(found):
            if what == name:
                yield from time_goals(one, peer, limit,
                                      f"{what}, {shape}, {parent}")
    for what, shape, one in figures(found):
        if what == NAMES["merge"] and PEER in one["seconds"]:
            faster = [1 / ratio for ratio in ratios(one, PEER)]
            yield (f"{what}, {shape}, {parent}: to {PEER}",
                   f"{text_of(faster, 0)} times faster",
                   f"at least {MERGE_GOAL}",
                   statistics.median(faster) >= MERGE_GOAL)
    for command, (kib, shape) in sorted(peaks(found).items()):
        yield (f"most memory of {command}, {parent}: {shape}",
               f"{kib / 1024:.1f} MiB", "under 16 MiB", kib < MEMORY_GOAL)
    for reason in found.get("skipped", []):
        yield (f"could not be run, {parent}: {reason}", "", "", None)


def time_goals(one, peer, limit, title):
    for name in (BARE, OURS):
        if name in one["seconds"]:
            note = f" {BARE}" if name == BARE else ""
            values = ratios(one, peer, name)
            yield (f"{title}:{note} to {peer}", text_of(values),
                   f"at most {limit}", statistics.median(values) <= limit)


def peaks(found):
    """By command, the most memory it took, and of which workspace."""
    most = {}
    for _, shape, one in figures(found):
        for by_command in one.get("peakKib", {}).values():
            for command, kib in by_command.items():
                most[command] = max(most.get(command, (0, "")), (kib, shape))
    return most
