#!/usr/bin/env python3
"""Trees for tests: made from a seed, and compared without the tools.

tree.py make DIR SEED ENTRIES [readable] [plain]
        a tree of every kind of entry; with modes that let the owner read;
        without what other tars cannot carry
tree.py compare A B [seconds]
        prints what differs (times by whole seconds); 1 if anything
"""
import hashlib
import os
import random
import stat
import sys

RUNTIME = b'.paperclip-runtime'


def describe(root, skip=(RUNTIME,)):
    """What the tree at root holds: {path: what}, all in bytes."""
    found = {}

    def look(directory, prefix):
        for name in sorted(os.listdir(directory)):
            if not prefix and name in skip:
                continue
            path, full = prefix + name, directory + b'/' + name
            st = os.lstat(full)
            mode = stat.S_IMODE(st.st_mode)
            if stat.S_ISLNK(st.st_mode):
                found[path] = ('link', os.readlink(full))
            elif stat.S_ISDIR(st.st_mode):
                found[path] = ('dir', mode)
                if not mode & 0o500 == 0o500 and os.geteuid() != 0:
                    continue
                if len(full) > 3000:
                    here = os.open(b'.', os.O_RDONLY)
                    os.chdir(full)
                    look(b'.', path + b'/')
                    os.fchdir(here)
                    os.close(here)
                else:
                    look(full, path + b'/')
            elif stat.S_ISREG(st.st_mode):
                found[path] = ('file', mode, st.st_mtime_ns, st.st_size,
                               content(full, st))
            else:
                found[path] = ('other', mode)

    look(os.fsencode(root), b'')
    return found


def content(path, st):
    if st.st_size > 1 << 30:
        # Sparse: its ends, and how much of it there is.
        with open(path, 'rb') as f:
            head = f.read(1 << 20)
            f.seek(-(1 << 20), 2)
            return head + f.read(), st.st_blocks < 1 << 16
    try:
        with open(path, 'rb') as f:
            return hashlib.sha256(f.read()).digest()
    except PermissionError:
        return None


def whole_seconds(found):
    return {p: (*w[:2], w[2] // 10**9, *w[3:]) if w[0] == 'file' else w
            for p, w in found.items()}


def differences(a, b):
    return [f'{path!r}: {a.get(path)!r} / {b.get(path)!r}'
            for path in sorted(a.keys() | b.keys())
            if a.get(path) != b.get(path)]


def names(rng):
    """Names of any bytes but NUL and '/', some of them 255 long."""
    def one():
        kind = rng.random()
        if kind < 0.6:
            return b'n%d' % rng.randrange(10**6)
        if kind < 0.7:
            return rng.choice([b'with space', b'new\nline', b'-dash', b'*',
                               b'tab\t', b'[x]', b'\\', b'"', b"'", b'...',
                               b'.hidden', b'a=b', '\u00e4\u6f22'.encode()]
                              ) + b'%d' % rng.randrange(1000)
        if kind < 0.72:
            return b'%03d' % rng.randrange(1000) + b'l' * 252
        return bytes(rng.choice([c for c in range(1, 256) if c != 47])
                     for _ in range(rng.randrange(4, 20)))
    while True:
        name = one()
        if name not in (b'.', b'..') and not name.endswith(b'.lock'):
            yield name


MTIMES = [0, 1, -1, -1_500_000_000, -86400 * 365 * 30 * 10**9 + 1,
          4_102_444_800 * 10**9 + 123_456_789, 1_700_000_000 * 10**9,
          2**31 * 10**9, 2**33 * 10**9 + 5, 1_600_000_000_100_000_000]


def plain_names(rng):
    while True:
        yield rng.choice([b'n', b'with space ', b'-dash', b'.hidden', b'*',
                          b'a=b', b"it's ", '\u00e4'.encode()]) + \
            b'%d' % rng.randrange(10**4)


def make(root, seed, entries, readable=False, plain=False):
    rng, root = random.Random(seed), os.fsencode(root)
    os.makedirs(root, exist_ok=True)
    name = plain_names(rng) if plain else names(rng)
    folders, modes = [b''], []
    # Python writes 1e-09 for the least of them.
    mtimes = [t for t in MTIMES if t == 0 or 10**9 < t < 2**32 * 10**9] if plain \
        else MTIMES
    targets = [b'gone', b'/etc/passwd', b'.', b'..', b'../../../x']
    if not plain:
        targets += [b'a' * 300, b'\xff\xfe']
    taken = set()
    for i in range(entries):
        parent = rng.choice(folders[-40:])
        path = (parent + b'/' if parent else b'') + next(name)
        if path in taken or len(path) > 1500:
            continue
        taken.add(path)
        full = root + b'/' + path
        kind = rng.random()
        if kind < 0.15:
            os.mkdir(full)
            if path.count(b'/') < (2 if plain else 20):
                folders.append(path)
            modes.append((full, rng.randrange(0o1000) | 0o500 * readable))
        elif kind < 0.25:
            os.symlink(rng.choice(targets), full)
        else:
            with open(full, 'wb') as f:
                size = rng.choice([0, 1, 511, 512, 513, 4096, 10000])
                f.write(rng.randbytes(size))
            os.utime(full, ns=(0, rng.choice(mtimes)))
            os.chmod(full, rng.randrange(0o1000) | 0o400 * readable)
    if not plain:
        deep(root)
    for full, mode in reversed(modes):
        os.chmod(full, mode)


def deep(root):
    """A path of 4,096 bytes, which no system call takes at once."""
    here = os.open(b'.', os.O_RDONLY)
    os.chdir(root)
    left = 4096
    while left > 255:
        part = b'd' * min(255, left - 2)
        os.mkdir(part)
        os.chdir(part)
        left -= len(part) + 1
    with open(b'f' * left, 'wb') as f:
        f.write(b'deep\n')
    os.fchdir(here)
    os.close(here)


def main(argv):
    if len(argv) >= 4 and argv[0] == 'make':
        make(argv[1], int(argv[2]), int(argv[3]), 'readable' in argv[4:],
             'plain' in argv[4:])
        return 0
    if len(argv) >= 3 and argv[0] == 'compare':
        a, b = describe(argv[1]), describe(argv[2])
        if 'seconds' in argv[3:]:
            a, b = whole_seconds(a), whole_seconds(b)
        found = differences(a, b)
        for line in found[:20]:
            print(line)
        if not a and not b:
            print('both are empty')
        return 1 if found or not a else 0
    print(__doc__, file=sys.stderr)
    return 100


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
