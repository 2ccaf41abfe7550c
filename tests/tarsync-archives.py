#!/usr/bin/env python3
"""Hostile archives against pc-tarsync unpack: each is refused with the member
named, in one line, and nothing is changed.

tarsync-archives.py DIR   runs the whole table below DIR; prints a line for
each row that fails, and how many there were.
"""
import base64
import gzip
import io
import os
import re
import resource
import subprocess
import sys

import tree

BLOCK = 512
ROWS = []


def row(name, data, message, *options, status=100):
    ROWS.append((name, data, message, options, status))


def octal(value, size):
    return b'%0*o\0' % (size - 1, value)


def header(name, kind=b'0', size=0, mode=0o644, target=b'', mtime=0,
           magic=b'ustar\x0000', prefix=b'', **fields):
    """A header block; fields gives raw bytes for any field."""
    raw = {'name': name.ljust(100, b'\0')[:100], 'mode': octal(mode, 8),
           'uid': octal(0, 8), 'gid': octal(0, 8), 'size': octal(size, 12),
           'mtime': octal(mtime, 12), 'chksum': b' ' * 8, 'type': kind,
           'target': target.ljust(100, b'\0')[:100], 'magic': magic,
           'uname': b'\0' * 32, 'gname': b'\0' * 32, 'major': b'\0' * 8,
           'minor': b'\0' * 8, 'prefix': prefix.ljust(155, b'\0'),
           'pad': b'\0' * 12}
    raw.update(fields)
    block = b''.join(raw.values())
    assert len(block) == BLOCK, len(block)
    if 'chksum' not in fields:
        block = block[:148] + b'%06o\0 ' % sum(block) + block[156:]
    return block


def data(content):
    return content + b'\0' * (-len(content) % BLOCK)


def member(name, content=b'', **more):
    more.setdefault('size', len(content))
    return header(name, **more) + data(content)


END = b'\0' * 2 * BLOCK


def pax(records, kind=b'x'):
    return member(b'pax', records, kind=kind)


def record(key, value):
    body = b' ' + key + b'=' + value + b'\n'
    size = len(body)
    while len(b'%d' % size) + len(body) != size:
        size = len(b'%d' % size) + len(body)
    return b'%d' % size + body


FILE = member(b'good', b'good\n')


def gzip_bomb():
    """256 MB of zeros in 256 KB, made in little memory."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode='wb') as f:
        f.write(header(b'z', size=1 << 28))
        for _ in range(1 << 8):
            f.write(b'\0' * (1 << 20))
    return out.getvalue()


def table():
    # Names.
    for label, name, why in [
            ('absolute', b'/tmp/x', 'absolute'),
            ('dot-dot', b'../x', r'"\.\."'),
            ('dot-dot inside', b'a/../../x', r'"\.\."'),
            ('dot-dot last', b'a/..', r'"\.\."'),
            ('dot inside', b'a/./b', r'"\."'),
            ('double slash', b'a//b', 'empty'),
            ('empty', b'', 'empty'),
            ('runtime', b'.paperclip-runtime/x', 'below .paperclip-runtime'),
            ('runtime itself', b'.paperclip-runtime', 'below'),
            ('runtime after ./', b'./.paperclip-runtime/x', 'below')]:
        row('name: ' + label, FILE + member(name, b'x') + END, why)
    row('name: absolute folder', FILE + header(b'/x/', b'5') + END,
        'absolute')
    row('name: pax absolute', FILE + pax(record(b'path', b'/x')) +
        member(b'x') + END, 'absolute')
    row('name: pax with NUL', FILE + pax(record(b'path', b'a\0b')) +
        member(b'x') + END, 'NUL')
    row('name: GNU long absolute', FILE + member(b'L', b'/' + b'l' * 120 +
        b'\0', kind=b'L', magic=b'ustar  \0') + member(b'x') + END,
        'absolute')
    row('name: component of 256', FILE + pax(record(b'path', b'c' * 256)) +
        member(b'x') + END, '255')
    row('name: 5000 bytes', FILE + pax(record(b'path', b'c/' * 2500 + b'c')) +
        member(b'x') + END, 'limit of')
    row('name: too deep', FILE + pax(record(b'path', b'c/' * 200 + b'c')) +
        member(b'x') + END, 'depth')
    row('name: prefix escapes', FILE + member(b'x', prefix=b'/etc') + END,
        'absolute')
    row('preserved', FILE + member(b'keep/x') + END, 'outside the tree',
        '-p', 'keep')
    row('excluded', FILE + member(b'a/node_modules/x') + END,
        'a/node_modules/x: outside', '-x', '*/node_modules')
    row('excluded itself', FILE + member(b'secret') + END, 'secret: outside',
        '-x', 'secret')

    # Types.
    for kind in b'3', b'4', b'6', b'Q':
        row(f'type {kind.decode()}', FILE + header(b'dev', kind) + END,
            'dev: not a file')
    for label, target, why in [
            ('outside', b'/etc/passwd', 'no earlier'),
            ('dot-dot', b'../x', 'no earlier'), ('absent', b'no', 'no earlier'),
            ('itself', b'h', 'no earlier'), ('in the tree', b'old', 'no ear'),
            ('a folder', b'd', 'no earlier'), ('a link', b'l', 'no earlier')]:
        row('hard link to ' + label, FILE + header(b'd', b'5') +
            header(b'l', b'2', target=b'good') +
            header(b'h', b'1', target=target) + END, 'h: .*' + why)
    row('hard link through a link', header(b'l', b'2', target=b'/etc') +
        header(b'h', b'1', target=b'l/passwd') + END, 'h: ')
    row('hard link with data', FILE + member(b'h', b'data', kind=b'1',
        target=b'good') + END, 'h: data')
    row('link with data', FILE + member(b'l', b'data', kind=b'2',
        target=b'x') + END, 'l: data')
    row('folder with data', FILE + member(b'd/', b'data', kind=b'5') + END,
        'd.*: data')
    row('link without target', FILE + header(b'l', b'2') + END, 'l: a link')
    row('link with a target of 5000', FILE + pax(record(b'linkpath',
        b't' * 5000)) + header(b'l', b'2') + END, 'l: a link')
    row('parent is a link', header(b'l', b'2', target=b'/tmp') +
        member(b'l/x', b'x') + END, 'l/x: its parent')
    row('parent is a link twice', header(b'a', b'2', target=b'.') +
        header(b'a/b', b'2', target=b'..') + END, 'a/b: its parent')
    row('parent is a file', FILE + member(b'good/x', b'x') + END,
        'good/x: its parent')
    row('parent is a link of the tree', FILE + member(b'lnk/x', b'x') + END,
        'lnk: ')
    row('file, then a folder that is not empty becomes a file',
        member(b'd/x', b'x') + member(b'd', b'file') + END, 'd: in the place')
    for label, target in [('absolute', b'/etc'), ('up', b'..'),
                          ('far up', b'a/../../..'), ('late', b'good/../x'),
                          ('nothing but up', b'../../..')]:
        row('link outside: ' + label, FILE + header(b's/l', b'2',
            target=target) + END if target != b'..' else FILE +
            header(b'l', b'2', target=target) + END, 'points outside',
            '--links=inside')

    # Limits.
    row('limit: bytes', member(b'a', b'x' * 6000) + END, 'a: .*bytes',
        '--max-bytes', '4K')
    row('limit: bytes together', member(b'a', b'x' * 3000) +
        member(b'b', b'x' * 3000) + END, 'b: .*bytes', '--max-bytes', '4K')
    row('limit: a file', member(b'a', b'x' * 6000) + END, "a: .*file's",
        '--max-file', '4K')
    row('limit: members', b''.join(member(b'm%d' % i) for i in range(11)) +
        END, 'm10: .*members', '--max-members', '10')
    row('limit: depth', member(b'a/b/c') + END, 'depth', '--max-depth', '2')
    row('limit: name', member(b'n' * 50) + END, 'limit', '--max-name', '40')
    row('bomb: gzip', gzip_bomb, 'z: .*bytes', '--max-bytes', '1M')
    sparse = (record(b'GNU.sparse.major', b'1') +
              record(b'GNU.sparse.minor', b'0') +
              record(b'GNU.sparse.name', b'hole') +
              record(b'GNU.sparse.realsize', b'%d' % (1 << 50)))
    row('bomb: sparse', pax(sparse) + member(b'h', data(b'1\n%d\n0\n' %
        (1 << 50))) + END, "hole: .*file's")
    row('bomb: forged long name', FILE + header(b'L', b'L', size=1 << 31) +
        END, 'limit')
    row('bomb: forged pax', FILE + header(b'x', b'x', size=(1 << 32)) + END,
        'limit')
    row('bomb: runs', pax(sparse) + member(b'h', data(b'99999999\n')) + END,
        'too many')

    # Header fields.
    row('checksum', FILE + header(b'x', chksum=b'000000\0 ') + END,
        'checksum')
    row('checksum of garbage', FILE + header(b'x', chksum=b'zzzzzzzz') + END,
        'checksum')
    row('garbage', os.urandom(4096), 'checksum')
    row('text', b'hello, world\n' * 100, 'checksum')
    row('size of garbage', FILE + header(b'x', sizes=b'')[:0] +
        forged(b'x', 124, b'xyzzy'), 'size')
    row('size negative', FILE + forged(b'x', 124, b'\xff' * 12), 'size')
    row('size over', FILE + forged(b'x', 124, b'\x80' + b'\x7f' * 11), 'size')
    row('mtime over', FILE + forged(b'x', 136, b'\x80\0\0\0' + b'\x7f' * 8),
        'time')
    row('mode of garbage', FILE + forged(b'x', 100, b'rw-r--r-'), 'mode')

    # Extended headers.
    for label, text in [('too long', b'99 path=x\n'), ('short', b'5 path=x\n'),
                        ('zero', b'0 path=x\n'), ('no number', b'path=x\n'),
                        ('no newline', b'9 path=xx'), ('no equal', b'7 path\n'),
                        ('no key', b'5 =x\n'), ('overflow',
                         b'99999999999999999999 path=x\n'),
                        ('empty size', record(b'size', b'-1')),
                        ('time', record(b'mtime', b'soon'))]:
        row('pax: ' + label, FILE + pax(text) + member(b'x') + END,
            'extended header|size|time')
    row('pax: global path', pax(record(b'path', b'x'), b'g') + FILE + END,
        'global')
    row('pax: no member', FILE + pax(record(b'path', b'x')) + END, 'without')
    row('pax: size lies', FILE + pax(record(b'size', b'100000')) +
        member(b'x', b'x') + END, 'ends early', status=111)

    # Sparse maps.
    for label, runs in [('unordered', [(1024, 5), (0, 5)]),
                        ('overlapping', [(0, 10), (5, 10)]),
                        ('beyond', [(1 << 20, 10)]),
                        ('too little', [(0, 3)])]:
        text = b'%d\n' % len(runs) + b''.join(b'%d\n%d\n' % r for r in runs)
        size = {'too little': 10}.get(label, sum(n for _, n in runs))
        row('sparse: ' + label, pax(
            record(b'GNU.sparse.major', b'1') +
            record(b'GNU.sparse.minor', b'0') +
            record(b'GNU.sparse.name', b's') +
            record(b'GNU.sparse.realsize', b'4096')) +
            member(b's', data(text) + b'd' * size) + END, 'map')
    row('sparse: map of garbage', pax(sparse) + member(b'h', data(b'one\n')) +
        END, 'map')
    row('sparse: 0.1 odd', pax(record(b'GNU.sparse.map', b'0,1,2') +
        record(b'GNU.sparse.size', b'9')) + member(b's', b'x') + END, 'map')
    row('sparse: old, negative', FILE + forged(b's', 386, b'\xff' * 24,
        kind=b'S'), 'map|size')

    # The end.
    row('no end marker', FILE, 'ends early', status=111)
    row('nothing', b'', 'ends early', status=111)
    row('one zero block', FILE + b'\0' * BLOCK, 'ends early', status=111)
    row('a lone zero block', FILE + b'\0' * BLOCK + FILE + END, 'lone')
    row('junk after the end', FILE + END + b'junk', 'after the end')
    row('another archive after the end', FILE + END + FILE + END,
        'after the end')
    packed = gzip.compress(FILE + END)
    row('gzip: cut', packed[:-12], 'ends early|damaged', status=111)
    row('gzip: damaged', packed[:20] + b'\xff\xff\xff' + packed[23:],
        'damaged')
    row('gzip: junk after it', packed + b'junk', 'damaged')
    text = base64.encodebytes(FILE + END)
    row('base64: damaged', text[:1000] + b'!' + text[1000:], 'damaged')
    row('base64: cut', text[:1001], 'ends early', status=111)

    # A delta for another tree.
    def delta(since, *more):
        return member(b'.paperclip-runtime/pc-sync', b'{"archive":1,"since":'
                      b'"%s"}\n' % since) + b''.join(more) + END
    row('delta: unknown id', delta(b'0' * 64), 'another tree')
    row('delta: no id', delta(b''), 'head of a delta')
    row('delta: with --clean', delta(b'0' * 64), 'clean', '--clean')

    # Every block, and inside of it: cut, never taken.
    whole = (header(b'd/', b'5', mode=0o755) + member(b'd/a', b'a' * 1500) +
             pax(record(b'path', b'p' * 150)) + member(b'x', b'long') +
             header(b'l', b'2', target=b'd/a') + END)
    for at in range(0, len(whole) - BLOCK, BLOCK):
        row(f'cut at {at}', whole[:at], 'ends early', status=111)
    for at in range(100, len(whole) - BLOCK, BLOCK + 77):
        row(f'cut at {at}', whole[:at], 'ends early', status=111)


def forged(name, at, field, kind=b'0'):
    block = bytearray(header(name, kind))
    block[at:at + len(field)] = field
    block[148:156] = b' ' * 8
    block[148:156] = b'%06o\0 ' % sum(block)
    return bytes(block) + END


def run(top, number, name, archive, message, options, status):
    """One row in a folder of its own: what is wrong with it, or None."""
    here = os.path.join(top, str(number))
    target, canary = here + '/target', here + '/canary'
    os.makedirs(target + '/sub')
    os.makedirs(canary)
    for path in target + '/old', target + '/sub/old', canary + '/old':
        with open(path, 'w') as f:
            f.write('old\n')
        os.utime(path, ns=(0, 10**18))
    os.symlink('../canary', target + '/lnk')
    before = tree.describe(here, skip=())
    archive = archive() if callable(archive) else archive
    usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(['pc-tarsync', 'unpack', '-C', target, *options],
                          input=archive, capture_output=True)
    after = tree.describe(here, skip=())
    after = {p: w for p, w in after.items()
             if not p.startswith(b'target/.paperclip-runtime')}
    said = done.stderr.decode()
    if done.returncode != status:
        return f'status {done.returncode}, not {status}: {said!r}'
    if not re.search(message, said) or said.count('\n') != 1:
        return f'says {said!r}, not /{message}/'
    if before != after:
        return f'changed: {tree.differences(before, after)}'
    left = target + '/.paperclip-runtime/staging'
    if status == 100 and os.path.exists(left):
        return 'left staging'
    if 'san' not in os.environ.get('PATH', '').split(':')[0] and \
            resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 32768 \
            and usage <= 32768:
        return 'took over 32 MB'
    return None


def main(argv):
    table()
    failed = 0
    for number, (name, archive, message, options, status) in enumerate(ROWS):
        wrong = run(argv[0], number, name, archive, message, options, status)
        if wrong:
            failed += 1
            print(f'{name}: {wrong}')
    print(f'{len(ROWS)} rows, {failed} failed')
    return 1 if failed or len(ROWS) < 60 else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
