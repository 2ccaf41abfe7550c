#!/usr/bin/env python3
"""pc-tarsync merge against its model.

merge_cases.py table DIR            every pair of changes, for every type
merge_cases.py random DIR SEED N    N random triples of trees
"""
import itertools
import json
import os
import random
import stat
import subprocess
import sys

import merge_model

RUNTIME = '.paperclip-runtime'
STAMP = 1_700_000_000_000_000_000


def write(root, tree):
    os.mkdir(root)
    for path in sorted(tree, key=merge_model.order):
        node, full = tree[path], os.path.join(root, path)
        if node[0] == 'dir':
            os.mkdir(full)
        elif node[0] == 'link':
            os.symlink(node[1], full)
        else:
            with open(full, 'w') as f:
                f.write(node[2])
            os.chmod(full, node[1])
            os.utime(full, ns=(STAMP, STAMP))
    for path, node in tree.items():
        if node[0] == 'dir':
            os.chmod(os.path.join(root, path), node[1])


def read(root):
    tree = {}

    def look(prefix):
        for name in os.listdir(os.path.join(root, prefix)):
            path = os.path.join(prefix, name)
            if path == RUNTIME:
                continue
            full = os.path.join(root, path)
            st = os.lstat(full)
            mode = stat.S_IMODE(st.st_mode)
            if stat.S_ISLNK(st.st_mode):
                tree[path] = ('link', os.readlink(full))
            elif stat.S_ISDIR(st.st_mode):
                tree[path] = ('dir', mode)
                look(path)
            else:
                with open(full) as f:
                    tree[path] = ('file', mode, f.read())
    look('')
    return tree


def run(*argv, **more):
    done = subprocess.run(argv, capture_output=True, **more)
    return done.returncode, done.stdout, done.stderr.decode()


class Wrong(Exception):
    pass


def expect(what, got, want):
    if got != want:
        raise Wrong(f'{what}:\n  got  {got!r}\n  want {want!r}')


def conflicts(root):
    """What the conflicts folders have; folders only where empty ones count."""
    found = {}
    top = os.path.join(root, RUNTIME, 'conflicts')
    for name in os.listdir(top) if os.path.isdir(top) else []:
        for path, node in read(os.path.join(top, name)).items():
            if node[0] != 'dir':
                found[path] = node
    return found


def without_folders(tree):
    return {p: n for p, n in tree.items() if n[0] != 'dir'}


def beside(tree):
    """What is below a name that a file has is below that name with a number."""
    found = {}
    for path, node in tree.items():
        parts = path.split('/')
        for n in range(1, len(parts)):
            if '/'.join(parts[:n]) in tree:
                parts[n - 1] += '.1'
                break
        found['/'.join(parts)] = node
    return found


def prepare(here, base, source):
    """The archive of what the sandbox changed, by the tools themselves."""
    os.mkdir(here)
    write(here + '/B', base)
    write(here + '/S', source)
    status, _, said = run('pc-tarsync', 'snapshot', '-C', here + '/B', '-o',
                          here + '/m')
    expect('snapshot ' + said, status, 0)
    status, archive, said = run('pc-tarsync', 'pack', '-C', here + '/S',
                                '--since', here + '/m')
    expect('pack ' + said, status, 0)
    return archive


def merge(here, archive, *options):
    return run('pc-tarsync', 'merge', '--baseline', here + '/m', '-C',
               here + '/T', *options, input=archive,
               env={**os.environ, 'XDG_STATE_HOME': here + '/state'})


def lines(out):
    """The report without totals, and 'saved' as a yes."""
    report = [json.loads(line) for line in out.decode().splitlines()]
    totals = report.pop()
    for line in report:
        if 'saved' in line:
            top = f'{RUNTIME}/conflicts/'
            if not line['saved'].startswith(top) or \
                    not line['saved'].endswith('/' + line['path']):
                raise Wrong(f'saved where? {line}')
            line['saved'] = True
    actions = [line['action'] for line in report]
    expect('totals', totals, {
        'applied': actions.count('applied') + actions.count('merged'),
        'deleted': actions.count('deleted'), 'kept': actions.count('kept'),
        'conflicts': sum(line['conflict'] for line in report),
        'held': actions.count('held')})
    return sorted(report, key=lambda line: merge_model.order(line['path']))


def case(here, base, source, target, policy, links):
    archive = prepare(here, base, source)
    write(here + '/T', target)
    options = [f'--conflict={policy}', f'--links={links}']
    model = merge_model.Merge(base, source, target, policy, links).run()
    any_conflict = any(line['conflict'] for line in model.report)
    status, out, said = merge(here, archive, *options, '--dry-run')
    fails = policy == 'fail' and any_conflict
    expect('dry run ' + said, status, 1 if fails else 0)
    expect('dry run', lines(out), model.report)
    expect('after the dry run', read(here + '/T'), target)
    status, out, said = merge(here, archive, *options)
    expect('merge ' + said, status, 1 if fails else 0)
    expect('report', lines(out), model.report)
    expect('surprises', said, '')
    if fails:
        expect('nothing changed', read(here + '/T'), target)
        return
    got = read(here + '/T')
    expect('tree', got, model.t)
    saved = conflicts(here + '/T')
    expect('saved', saved, beside(without_folders(model.saved)))
    def content(tree, path):
        node = tree.get(path)
        return node[2] if node and node[0] == 'file' else None

    for path in target:
        was = content(target, path)
        if was and was not in (content(base, path), content(got, path),
                               content(source, path), content(saved, path)):
            raise Wrong(f'{path} of the host is lost')
    left = set(os.listdir(f'{here}/T/{RUNTIME}')) - {
        'conflicts', 'staging.lock'}
    expect('left', left, set())
    expect('left outside', [names for _, _, names in
                            os.walk(here + '/state') if names], [['lock']])
    # Merging twice is merging once; what was held is held again.
    status, out, said = merge(here, archive, *options)
    expect('again ' + said, status, 0)
    expect('a second time', [line for line in lines(out)
                             if line['action'] not in ('kept', 'held')], [])
    expect('the tree after it', read(here + '/T'), got)


def check(here, number, *args):
    try:
        case(f'{here}/{number}', *args)
    except Wrong as wrong:
        print(f'case {number}: {args[3:]}\n base   {args[0]}\n'
              f' source {args[1]}\n target {args[2]}\n{wrong}')
        return 1
    run('rm', '-rf', f'{here}/{number}')
    return 0


# --- the table ---

FILE = {
    'same': {'p': ('file', 0o644, 'base')},
    'content': {'p': ('file', 0o644, 'other')},
    'content 2': {'p': ('file', 0o644, 'third')},
    'mode': {'p': ('file', 0o600, 'base')},
    'both': {'p': ('file', 0o600, 'other')},
    'type link': {'p': ('link', 'x')},
    'type dir': {'p': ('dir', 0o755), 'p/f': ('file', 0o644, 'in')},
    'type empty dir': {'p': ('dir', 0o755)},
    'deleted': {},
}
LINK = {
    'same': {'p': ('link', 'base')},
    'content': {'p': ('link', 'other')},
    'content 2': {'p': ('link', 'third')},
    'type file': {'p': ('file', 0o644, 'file')},
    'type dir': {'p': ('dir', 0o755), 'p/f': ('file', 0o644, 'in')},
    'outside': {'p': ('link', '/etc')},
    'deleted': {},
}
EMPTY = {
    'same': {'p': ('dir', 0o755)},
    'mode': {'p': ('dir', 0o700)},
    'mode 2': {'p': ('dir', 0o750)},
    'filled': {'p': ('dir', 0o755), 'p/n': ('file', 0o644, 'new')},
    'type file': {'p': ('file', 0o644, 'file')},
    'type link': {'p': ('link', 'x')},
    'deleted': {},
}
FULL = {
    'same': {'p': ('dir', 0o755), 'p/f': ('file', 0o644, 'base'),
             'p/d': ('dir', 0o755), 'p/d/g': ('file', 0o644, 'base')},
    'mode': {'p': ('dir', 0o700), 'p/f': ('file', 0o644, 'base'),
             'p/d': ('dir', 0o755), 'p/d/g': ('file', 0o644, 'base')},
    'content': {'p': ('dir', 0o755), 'p/f': ('file', 0o644, 'other'),
                'p/d': ('dir', 0o755), 'p/d/g': ('file', 0o644, 'base')},
    'content 2': {'p': ('dir', 0o755), 'p/f': ('file', 0o644, 'third'),
                  'p/d': ('dir', 0o755), 'p/d/g': ('file', 0o644, 'third')},
    'new': {'p': ('dir', 0o755), 'p/f': ('file', 0o644, 'base'),
            'p/d': ('dir', 0o755), 'p/d/g': ('file', 0o644, 'base'),
            'p/d/n': ('file', 0o644, 'new')},
    'part': {'p': ('dir', 0o755), 'p/d': ('dir', 0o755),
             'p/d/g': ('file', 0o644, 'base')},
    'type file': {'p': ('file', 0o644, 'file')},
    'type link': {'p': ('link', 'x')},
    'deleted': {},
}
NONE = {
    'same': {},
    'new': {'p': ('file', 0o644, 'new')},
    'new 2': {'p': ('file', 0o644, 'other')},
    'new mode': {'p': ('file', 0o600, 'new')},
    'new link': {'p': ('link', 'x')},
    'new dir': {'p': ('dir', 0o755), 'p/f': ('file', 0o644, 'in')},
    'new dir 2': {'p': ('dir', 0o700), 'p/f': ('file', 0o644, 'other')},
}

# The core of it, by hand: so that model and table check one another.
BY_HAND = [
    # family, source, target, action, conflict, content at the end
    (FILE, 'same', 'content', None, None, 'other'),
    (FILE, 'content', 'same', 'applied', False, 'other'),
    (FILE, 'content', 'content', None, None, 'other'),
    (FILE, 'deleted', 'same', 'deleted', False, None),
    (FILE, 'deleted', 'content', 'kept', True, 'other'),
    (FILE, 'content', 'content 2', 'applied', True, 'other'),
    (FILE, 'content', 'deleted', 'applied', True, 'other'),
    (FILE, 'mode', 'content', 'merged', False, 'other'),
    (FILE, 'content', 'mode', 'merged', False, 'other'),
    (FILE, 'deleted', 'deleted', None, None, None),
    (NONE, 'new', 'same', 'applied', False, 'new'),
    (NONE, 'new', 'new 2', 'applied', True, 'new'),
    (NONE, 'same', 'new', None, None, 'new'),
    (LINK, 'outside', 'same', 'held', True, 'base'),
]


def check_by_hand():
    for family, s, t, action, conflict, content in BY_HAND:
        m = merge_model.Merge(family['same'], family[s], family[t]).run()
        line = m.report[0] if m.report else {}
        node = m.t.get('p')
        assert line.get('action') == action, (s, t, m.report)
        assert line.get('conflict') == conflict, (s, t, m.report)
        assert (node[-1] if node else None) == content, (s, t, m.t)


def table(here):
    check_by_hand()
    number = failed = 0
    other = {'other': ('file', 0o644, 'stays')}
    for family in FILE, LINK, EMPTY, FULL, NONE:
        for s, t in itertools.product(family, family):
            for policy in 'source', 'target', 'fail':
                number += 1
                failed += check(here, number, {**family['same'], **other},
                                {**family[s], **other}, {**family[t], **other},
                                policy, 'inside')
    print(f'{number} cases, {failed} failed')
    return failed


# --- random trees ---

NAMES = ['a', 'b', 'c', 'a.b', 'z']
TARGETS = ['x', '../y', '/etc', '../../..', 'a/../b', 'b']


def random_node(rng):
    kind = rng.random()
    if kind < 0.4:
        return ('dir', rng.choice([0o755, 0o700, 0o555]))
    if kind < 0.5:
        return ('link', rng.choice(TARGETS))
    return ('file', rng.choice([0o644, 0o600]), rng.choice('12345') * 3)


def grow(rng, tree, prefix, depth):
    for name in NAMES:
        if rng.random() < 0.45:
            node = random_node(rng)
            tree[prefix + name] = node
            if node[0] == 'dir' and depth < 3:
                grow(rng, tree, prefix + name + '/', depth + 1)
    return tree


def cut(tree, path):
    for p in [p for p in tree if p == path or merge_model.below(p, path)]:
        del tree[p]


def change(rng, tree):
    tree = dict(tree)
    for _ in range(rng.randrange(5)):
        kind = rng.random()
        if tree and kind < 0.8:
            path = rng.choice(sorted(tree))
        else:
            folders = [''] + [p + '/' for p, n in tree.items()
                              if n[0] == 'dir' and p.count('/') < 3]
            path = rng.choice(sorted(folders)) + rng.choice(NAMES)
        if kind < 0.25:
            cut(tree, path)
            continue
        node = random_node(rng)
        old = tree.get(path)
        if old and kind < 0.5 and old[0] == 'file':
            node = ('file', old[1], rng.choice('12345') * 3)
        elif old and kind < 0.65 and old[0] != 'link':
            node = (old[0], rng.choice([0o755, 0o700, 0o500]), *old[2:])
        if node[0] != 'dir' or (old and old[0] != 'dir'):
            cut(tree, path)
        tree[path] = node
        if node[0] == 'dir' and not old and rng.random() < 0.5:
            grow(rng, tree, path + '/', path.count('/') + 1)
    return tree


def random_cases(here, seed, count):
    failed = 0
    for number in range(count):
        rng = random.Random(f'{seed}/{number}')
        base = grow(rng, {}, '', 0)
        source, target = change(rng, base), change(rng, base)
        if rng.random() < 0.2:
            target = {**target, **{p: n for p, n in source.items()
                                   if p in target and p in source and
                                   target[p][0] == n[0]}}
        failed += check(here, number, base, source, target,
                        rng.choice(['source', 'source', 'target', 'fail']),
                        rng.choice(['inside', 'any']))
        if failed > 5:
            break
    print(f'{count} triples of seed {seed}, {failed} failed')
    return failed


def main(argv):
    if len(argv) > 1:
        argv[1] = os.path.abspath(argv[1])
    if argv[:1] == ['table']:
        return 1 if table(argv[1]) else 0
    if argv[:1] == ['random']:
        return 1 if random_cases(argv[1], argv[2], int(argv[3])) else 0
    print(__doc__, file=sys.stderr)
    return 100


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
