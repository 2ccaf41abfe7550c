"""pc-tarsync beside tar, ssh and rsync, find, and the published peer."""

import os
import subprocess

import sync_trees as trees
from lock import Folder
from procs import Failed
from sync_jobs import Channel, Job, compete, peak_kib, run, take
from latency import Steps
from sync_report import (BARE, COPY, EXEC, FIND, OURS, PEER, RSYNC, TAR,
                         TMPFS)
from sync_trees import LARGE, MANY, MIXED, RUNTIME, SMALL
from ways import Peer, environment, tool

CAT = ["cat"]


def ours(command, root, *options):
    return [tool("pc-tarsync"), command, "-C", root, *options]


class Site:
    """A folder with a workspace W, and what else there is, gone with it."""

    def __init__(self, parent, shape):
        self.shape = shape
        self.folder = Folder(parent)

    def __enter__(self):
        self.dir = self.folder.__enter__()
        self.work = self.path("W")
        trees.make(self.work, self.shape)
        return self

    def __exit__(self, *exception):
        self.folder.__exit__(*exception)

    def path(self, name):
        return os.path.join(self.dir, name)

    def compete(self, contestants):
        """The only job of each."""
        return compete({name: [job] for name, job in contestants.items()},
                       self.shape.rounds)[0]

    def forget(self, *names):
        for name in names:
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))


def once(check):
    """A check that is made the first time only: it reads everything."""
    left = [check]
    return lambda: left.pop()() if left else None


# One machine, nothing but the programs.

def pack(parent, shape):
    """Into a pipe: tar notices /dev/null, and reads nothing for it."""
    with Site(parent, shape) as site:
        return site.compete({
            TAR: Job(["tar", "-C", site.work, "-cf", "-", "."], CAT),
            BARE: Job(ours("pack", site.work), CAT),
            OURS: Job(ours("pack", site.work, "--manifest", site.path("M")),
                      CAT, before=lambda: site.forget("M", "M.cache")),
        })


def unpack(parent, shape):
    """Each its own archive, into an empty folder."""
    with Site(parent, shape) as site:
        root = site.path("R")
        by_tar, by_ours = site.path("tar.tar"), site.path("ours.tar")
        run([["tar", "-C", site.work, "-cf", by_tar, "."]])
        run([ours("pack", site.work, "-o", by_ours)])

        def job(source, argv):
            return Job(argv, source=source,
                       before=lambda: trees.empty(root),
                       after=once(lambda: trees.check_same(site.work, root)))

        return site.compete({
            TAR: job(by_tar, ["tar", "-C", root, "-xf", "-"]),
            BARE: job(by_ours, ours("unpack", root, "--no-manifest")),
            OURS: job(by_ours, ours("unpack", root)),
        })


def snapshot(parent, shape):
    """Of a tree in which nothing has changed since the last one."""
    with Site(parent, shape) as site:
        argv = ours("snapshot", site.work, "--cache", site.path("cache"))
        run([argv])
        return site.compete({
            FIND: Job(["find", site.work, "-ls"], CAT),
            OURS: Job(argv, CAT),
        })


# Through a channel.

class Rsync(Job):
    """It starts the channel's command itself; box: is the other end."""

    def __init__(self, channel, source, target, **options):
        super().__init__(["rsync", "-a", "-e", " ".join(channel.shell),
                          source + "/", target + "/"], **options)
        self.channel = channel

    @property
    def channels(self):
        return [self.channel]


class PeerStep(Job):
    """A step of the published peer's, which always carries all files."""

    def __init__(self, channel, steps, name, most, **options):
        super().__init__(**options)
        self.channel, self.steps, self.name = channel, steps, name
        self.most = most
        self.taken = 0

    @property
    def channels(self):
        return [self.channel]

    @property
    def execs(self):
        return self.taken

    def run(self):
        before = self.steps.take("execs")["execs"]
        said = self.steps.take(self.name)
        self.taken = said["execs"] - before
        return said["seconds"]


def peer_steps(channel, local, remote):
    return Steps(channel.group, channel=channel.words(), delayMs=0,
                 local=local, remote=remote, apiUrl="")


def initial(parent, shape, channel):
    """All of a workspace into an empty folder at the other end."""
    with Site(parent, shape) as site:
        root = site.path("R")

        def before():
            trees.empty(root)
            site.forget("M", "M.cache")

        def options():
            return {"before": before, "after": once(
                lambda: trees.check_same(site.work, root))}

        peer = {PEER: PeerStep(
            channel, peer_steps(channel, site.work, root), "in",
            3 if shape.count == SMALL.count else 1, **options())} \
            if shape.name in (SMALL.name, MANY.name) else {}
        return site.compete({
            TAR: Job(["tar", "-C", site.work, "-cf", "-", "."],
                       (channel, ["tar", "-C", root, "-xf", "-"]),
                       **options()),
            RSYNC: Rsync(channel, site.work, "box:" + root, **options()),
            BARE: Job(ours("pack", site.work),
                      (channel, ours("unpack", root, "--clean",
                                     "--no-manifest")), **options()),
            OURS: Job(ours("pack", site.work, "--manifest", site.path("M")),
                      (channel, ours("unpack", root, "--clean")),
                      **options()),
            **peer,
            # No channel: what files cost at least.
            COPY: Job(["cp", "-a", site.work + "/.", root], **options()),
        })


class Pair:
    """A workspace at both ends, and ten files that change at one of them."""

    def __init__(self, site, name):
        self.work, self.root = site.path("W-" + name), site.path("R-" + name)
        trees.copy(site.work, self.work)
        trees.copy(site.work, self.root)
        self.changes = trees.Changes(site.shape)

    def change_work(self):
        self.changes.apply(self.work)

    def change_root(self):
        self.changes.apply(self.root)

    def check(self):
        trees.check_same(self.work, self.root)

    def into(self):
        return {"before": self.change_work, "after": self.check}

    def out_of(self):
        return {"before": self.change_root, "after": self.check}


class Life(Pair):
    """
    With manifests: sent, of the last way in, and back, of what the sandbox
    had after the last way out.
    """

    def __init__(self, site, name):
        super().__init__(site, name)
        trees.empty(self.root)
        self.sent, self.back = self.work + ".sent", self.work + ".back"
        archive = site.path("first.tar")
        run([ours("pack", self.work, "--manifest", self.back, "-o", archive)])
        run([ours("unpack", self.root)], archive)

    def pack_in(self):
        return ours("pack", self.work, "--since", self.back, "--manifest",
                    self.sent)

    def unpack_in(self):
        return ours("unpack", self.root)

    def pack_out(self, *options):
        return ours("pack", self.root, "--since",
                    os.path.join(self.root, RUNTIME, "manifest"), *options)

    def merge_out(self):
        return ours("merge", self.work, "--baseline", self.sent,
                    "--source-manifest", self.back)


def again(parent, shape, channel):
    """Ten files changed at one end, carried; then ten at the other."""
    with Site(parent, shape) as site:
        mine, theirs = Life(site, "ours"), Pair(site, "rsync")
        steps = compete({
            RSYNC: [
                Rsync(channel, theirs.work, "box:" + theirs.root,
                      **theirs.into()),
                Rsync(channel, "box:" + theirs.root, theirs.work,
                      **theirs.out_of())],
            OURS: [
                Job(mine.pack_in(), (channel, mine.unpack_in()),
                    **mine.into()),
                Job((channel, mine.pack_out()), mine.merge_out(),
                    **mine.out_of())],
            # What any exec costs here, to be read beside the others.
            EXEC: [Job((channel, ["true"])), Job((channel, ["true"]))],
        }, shape.rounds)
        return dict(zip(("in", "out"), steps))


def changed(parent, shape, channel, counts, peer_counts):
    """By how many files have changed, at one end, and then at the other."""
    with Site(parent, shape) as site:
        mine = Life(site, "ours")
        pairs = {name: Pair(site, name) for name in (RSYNC, TAR, PEER)}
        theirs, plain, whole = pairs.values()
        steps = peer_steps(channel, whole.work, whole.root)
        contestants = {
            RSYNC: [
                Rsync(channel, theirs.work, "box:" + theirs.root,
                      **theirs.into()),
                Rsync(channel, "box:" + theirs.root, theirs.work,
                      **theirs.out_of())],
            TAR: [
                Job(["tar", "-C", plain.work, "-cf", "-", "."],
                    (channel, ["tar", "-C", plain.root, "-xf", "-"]),
                    **plain.into()),
                Job((channel, ["tar", "-C", plain.root, "-cf", "-", "."]),
                    ["tar", "-C", plain.work, "-xf", "-"],
                    **plain.out_of())],
            OURS: [
                Job(mine.pack_in(), (channel, mine.unpack_in()),
                    **mine.into()),
                Job((channel, mine.pack_out()), mine.merge_out(),
                    **mine.out_of())],
        }
        found = {}
        for count in counts:
            for pair in [mine, *pairs.values()]:
                pair.changes.count = min(count, shape.count)
            more = {} if count not in peer_counts else {PEER: [
                PeerStep(channel, steps, "in", 1, **whole.into()),
                PeerStep(channel, steps, "back", 1, **whole.out_of())]}
            found[count] = dict(zip(("in", "out"), compete(
                {**contestants, **more}, shape.rounds)))
        return found


# The merge alone, beside the published peer's.

class PeerMerge:
    """
    In a process of its own, of which only the merge is timed: not its start,
    nor that it reads the baseline.
    """

    def __init__(self):
        self.script = Peer(PEER, None).install("sync_peer.mjs")

    def seconds(self, pair):
        pair.change_root()
        os.sync()
        done = subprocess.run(
            ["node", self.script, pair.root, pair.work], text=True,
            capture_output=True, env=environment(), check=False)
        if done.returncode != 0:
            raise Failed(f"sync_peer.mjs: {done.stderr.strip()[-300:]}")
        pair.check()
        return float(done.stdout)


def merge(parent, shape):
    """Ten changes into a workspace to which nothing else has happened."""
    with Site(parent, shape) as site:
        peer = PeerMerge()
        mine, theirs = Life(site, "ours"), Pair(site, "peer")
        archive = site.path("delta.tar")

        def before():
            run([mine.pack_in(), mine.unpack_in()])
            mine.change_root()
            run([mine.pack_out("-o", archive)])

        job = Job(mine.merge_out(), source=archive, before=before,
                  after=mine.check)
        found = {"seconds": {PEER: [], OURS: []}}
        for number in range(shape.rounds):
            names = list(found["seconds"])
            for name in names if number % 2 == 0 else reversed(names):
                found["seconds"][name].append(
                    peer.seconds(theirs) if name == PEER else take(job)[0])
        found["peakKib"] = {OURS: peak_kib(job)}
        return found


# All of it.

LOCAL = {"pack": pack, "unpack": unpack, "snapshot": snapshot}


class Measures:
    """What was found, by benchmark and workspace, and what failed."""

    def __init__(self, parent, progress):
        self.parent = parent
        self.progress = progress
        self.found = {}
        self.skipped = []

    def one(self, what, call, shape, *arguments):
        self.progress(f"workspaces in {self.parent}: {what}, {shape.name}")
        try:
            figures = call(self.parent, shape, *arguments)
            self.found.setdefault(what, {})[shape.name] = figures
        except Failed as error:
            self.skipped.append(f"{what}, {shape.name}: {error}")

    def remotely(self, shapes, quick):
        try:
            with Channel() as channel:
                for shape in shapes:
                    self.one("initial", initial, shape, channel)
                # Ten files cannot change where there is one.
                for shape in shapes:
                    if shape in (SMALL, MIXED) and not quick:
                        self.one("again", again, shape, channel)
                if quick:
                    self.one("changed", changed, SMALL.shorter(2), channel,
                             (1, 10, 100), (10,))
                elif MANY in shapes:
                    self.one("changed", changed, MANY.shorter(), channel,
                             (1, 10, 100, 1000, 10000), (1, 10000))
        except Failed as error:
            self.skipped.append(f"over ssh: {error}")


def measure(parent, quick, progress):
    shapes = [SMALL.shorter()] if quick else \
        [SMALL, MANY, LARGE, MIXED] if parent == TMPFS else [SMALL.shorter()]
    measures = Measures(parent, progress)
    for what, call in LOCAL.items():
        for shape in shapes:
            measures.one(what, call, shape)
    measures.remotely(shapes, quick)
    if quick or MANY in shapes:
        measures.one("merge", merge, shapes[0 if quick else 1].shorter())
    return {**measures.found, "skipped": measures.skipped}
