#!/usr/bin/env python3
"""pc-tarsync raced; and the trees that tools.py stops it over, at each call.

Scenarios, for tools.py: who exits 0 has made the new tree.  After a fault,
and `pc-tarsync recover`, the tree is the old or the new one; after the same
call once more it is the new one, and nothing is left behind.  No version of
a file that the host had is gone.

Races: while unpack, merge and mirror run, another process swaps folders of
the target for links that lead outside, or edits files.  Nothing outside
changes, and no edit is lost.

usage: tarsync.py [--rounds N] [--seed N]
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
import tree  # noqa: E402

STAYS = {'manifest', 'manifest.cache', 'staging.lock', 'conflicts'}


def sh(*argv, **more):
    return subprocess.run(argv, capture_output=True, **more)


def put(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        f.write(text)
    os.chmod(path, mode)
    os.utime(path, ns=(0, 10**18))


def files(top):
    """The contents of all files below top."""
    return {open(os.path.join(where, name), 'rb').read()
            for where, _, names in os.walk(top) for name in names
            if os.path.isfile(os.path.join(where, name))}


class Scenario:
    """A command on the folder T, made anew for each run."""
    delta = False

    def __init__(self, top):
        self.top = top
        self.env = {**os.environ, 'XDG_STATE_HOME': top + '/state',
                    'LC_ALL': 'C'}
        self.new_tree(top + '/W')
        self.old_tree(top + '/old')
        self.archive = self.prepare()

    def old_tree(self, at):
        put(at + '/a/kept', 'old\n')
        put(at + '/a/changed', 'old\n')
        put(at + '/gone/x', 'old\n')
        put(at + '/file', 'old\n')
        put(at + '/dir/in/it', 'old\n')
        os.symlink('a', at + '/link')

    def new_tree(self, at):
        put(at + '/a/changed', 'new\n', 0o600)
        put(at + '/a/added', 'new\n')
        put(at + '/file/now/a/folder', 'new\n')
        put(at + '/dir', 'now a file\n')
        put(at + '/locked/f', 'new\n')
        os.symlink('b', at + '/link')
        os.chmod(at + '/locked', 0o555)

    def prepare(self):
        return sh('pc-tarsync', 'pack', '-C', self.top + '/W').stdout

    def start(self):
        target = self.top + '/T'
        sh('chmod', '-R', 'u+rwx', target)
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(self.top + '/state', ignore_errors=True)
        shutil.copytree(self.top + '/old', target, symlinks=True)
        return target

    def command(self):
        return ['pc-tarsync', 'unpack', '-C', self.top + '/T']

    def run(self, *before):
        return sh(*before, *self.command(), input=self.archive, env=self.env)

    def recover(self):
        return sh('pc-tarsync', 'recover', '-C', self.top + '/T',
                  env=self.env)

    def state(self):
        return tree.describe(self.top + '/T')

    def good(self, found):
        return found in (self.before, self.after)

    def check_versions(self):
        """What of the host's must be somewhere."""
        return []

    def left(self):
        runtime = os.path.join(self.top, 'T', '.paperclip-runtime')
        found = set(os.listdir(runtime)) if os.path.isdir(runtime) else set()
        return found - STAYS


class Overlay(Scenario):
    pass


class Clean(Scenario):
    def command(self):
        return super().command() + ['--clean']


class CleanEntries(Clean):
    def command(self):
        return super().command() + ['-x', '*/excluded']

    def old_tree(self, at):
        super().old_tree(at)
        put(at + '/gone/excluded', 'stays\n')


class Delta(Scenario):
    def prepare(self):
        sh('pc-tarsync', 'pack', '-C', self.top + '/old', '--manifest',
           self.top + '/m')
        # The target has the manifest that the delta starts from.
        runtime = self.top + '/old/.paperclip-runtime'
        os.mkdir(runtime)
        shutil.copy(self.top + '/m', runtime + '/manifest')
        return sh('pc-tarsync', 'pack', '-C', self.top + '/W', '--since',
                  self.top + '/m').stdout


class Again(Scenario):
    """Goes on with a transfer that was cut."""

    def prepare(self):
        whole = super().prepare()
        target = super().start()
        sh('pc-tarsync', 'unpack', '-C', target, input=whole[:5000])
        have = sh('pc-tarsync', 'snapshot', '--partial', '-C', target).stdout
        with open(self.top + '/have', 'wb') as f:
            f.write(have)
        self.cut = whole[:5000]
        return sh('pc-tarsync', 'pack', '-C', self.top + '/W', '--since',
                  self.top + '/have').stdout

    def start(self):
        target = super().start()
        sh('pc-tarsync', 'unpack', '-C', target, input=self.cut)
        return target

    def run(self, *before):
        done = super().run(*before)
        # What had come was of no use: all of it again.
        if done.returncode == 100 and not before:
            return sh(*self.command(), input=super().prepare())
        return done


class Recover(Scenario):
    """Ends an unpack that was killed at its first step."""

    def start(self):
        target = super().start()
        # The first two are of the staging folder's files.
        sh('strace', '-o', '/dev/null', '-e', 'trace=renameat', '-e',
           'inject=renameat:signal=KILL:when=3', *super().command(),
           input=self.archive)
        os.stat(target + '/.paperclip-runtime/staging/journal')
        return target

    def command(self):
        return ['pc-tarsync', 'recover', '-C', self.top + '/T']


class Mirror(Scenario):
    def command(self):
        return ['pc-tarsync', 'mirror', self.top + '/W', self.top + '/T']

    def prepare(self):
        return b''

    def good(self, found):
        """Each file is the old or the new one, or not there (yet)."""
        for path, what in found.items():
            if what[0] == 'dir':
                continue
            if what not in (self.before.get(path), self.after.get(path)):
                return False
        return True


class Merge(Scenario):
    """The sandbox is W, the baseline `old`; the host has changed too."""

    def prepare(self):
        sh('pc-tarsync', 'snapshot', '-C', self.top + '/old', '-o',
           self.top + '/m')
        archive = sh('pc-tarsync', 'pack', '-C', self.top + '/W', '--since',
                     self.top + '/m').stdout
        put(self.top + '/old/a/changed', 'the host, too\n')
        put(self.top + '/old/gone/x', 'the host kept it\n')
        put(self.top + '/old/dir/in/it', 'the host is in it\n')
        put(self.top + '/old/only', 'on the host\n')
        return archive

    def command(self):
        return ['pc-tarsync', 'merge', '--baseline', self.top + '/m', '-C',
                self.top + '/T']

    def check_versions(self):
        have = files(self.top + '/T')
        return [text for text in (b'the host, too\n', b'the host kept it\n',
                                  b'the host is in it\n', b'on the host\n')
                if text not in have]

    def left(self):
        state = {name for _, _, names in os.walk(self.top + '/state')
                 for name in names}
        return super().left() | (state - {'lock'}) | {
            name for name in os.listdir(self.top)
            if 'restore.lock' in name and not name.endswith('.pc.lock')}


class MergeGit(Merge):
    """Repositories: one that only the sandbox changed, one that both did."""

    def old_tree(self, at):
        for repository in '/one/.git', '/two/.git':
            put(at + repository + '/HEAD', 'old\n')
            put(at + repository + '/index', 'old\n')
            put(at + repository + '/refs/gone', 'old\n')
            put(at + repository + '/config', 'old\n')
        super().old_tree(at)

    def new_tree(self, at):
        for repository in '/one/.git', '/two/.git':
            put(at + repository + '/HEAD', 'new\n')
            put(at + repository + '/index', 'old\n')
            put(at + repository + '/refs/new', 'new\n')
            put(at + repository + '/config', 'new\n')

    def prepare(self):
        archive = super().prepare()
        put(self.top + '/old/two/.git/HEAD', 'of the host\n')
        return archive


# --- races ---

def swap(target, canary, rng):
    """A folder of the target becomes a link outside, and back."""
    names = [n for n in ('a', 'gone', 'dir', 'file', 'locked', 'a/deep',
                         '.paperclip-runtime')
             if os.path.isdir(f'{target}/{n}')
             and not os.path.islink(f'{target}/{n}')]
    if not names:
        return
    path = f'{target}/{rng.choice(names)}'
    aside = f'{os.path.dirname(target)}/aside'
    try:
        os.rename(path, aside)
        os.symlink(canary, path)
        time.sleep(rng.random() / 1000)
        os.unlink(path)
        os.rename(aside, path)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        if os.path.islink(path):
            os.unlink(path)


def race_links(top, rounds, seed):
    rng, failed = random.Random(seed), 0
    kinds = [kind(os.path.join(top, 'race-' + kind.__name__))
             for kind in (Overlay, Clean, Mirror, Merge)]
    canary = top + '/canary'
    for name in 'changed', 'added', 'x', 'it', 'f', 'kept', 'manifest':
        put(f'{canary}/{name}', 'canary\n')
    os.makedirs(canary + '/staging/new/a')
    os.makedirs(canary + '/in')
    put(canary + '/in/it', 'canary\n')
    before = tree.describe(canary, skip=())
    for number in range(rounds):
        scenario = kinds[number % len(kinds)]
        target = scenario.start()
        os.makedirs(target + '/a/deep', exist_ok=True)
        tool = subprocess.Popen(scenario.command(), stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, env=scenario.env)
        try:
            tool.stdin.write(scenario.archive)
            tool.stdin.close()
        except OSError:
            pass
        while tool.poll() is None:
            swap(target, canary, rng)
        if tree.describe(canary, skip=()) != before:
            failed += 1
            print(f'round {number} of {type(scenario).__name__}: outside '
                  'changed: ', tree.differences(before, tree.describe(
                      canary, skip=())))
            break
    print(f'{rounds} races with links, {failed} failed')
    return failed


def race_edits(top, rounds, seed):
    rng, failed = random.Random(seed), 0
    scenario = Merge(os.path.join(top, 'edits'))
    names = ['a/changed', 'a/kept', 'file', 'gone/x', 'dir/in/it', 'new']
    for number in range(rounds):
        target = scenario.start()
        tool = subprocess.Popen(scenario.command(), stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, env=scenario.env)
        tool.stdin.write(scenario.archive)
        tool.stdin.close()
        last = {}
        while tool.poll() is None:
            name = rng.choice(names)
            text = f'edit {number} {rng.random()}\n'
            path = f'{target}/{name}'
            try:
                if rng.random() < 0.5:
                    with open(f'{target}/.tmp', 'w') as f:
                        f.write(text)
                    os.rename(f'{target}/.tmp', path)
                else:
                    with open(path, 'r+') as f:
                        f.write(text)
                        f.truncate()
                last[name] = text.encode()
            except OSError:
                pass
        have = files(target)
        for name, text in last.items():
            if text not in have:
                failed += 1
                print(f'round {number}: the edit of {name} is lost')
        if failed:
            break
    print(f'{rounds} races with edits, {failed} failed')
    return failed


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--rounds', type=int, default=1000)
    args.add_argument('--seed', type=int, default=int(time.time()))
    args = args.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get('TMPDIR')) as top:
        try:
            print(f'seed {args.seed}')
            failed = race_links(top, args.rounds, args.seed)
            failed += race_edits(top, args.rounds, args.seed)
            return 1 if failed else 0
        finally:
            sh('chmod', '-R', 'u+rwx', top)


if __name__ == '__main__':
    sys.exit(main())
