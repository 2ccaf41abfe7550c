#!/usr/bin/env python3
"""Hostile and foreign archives for pc-tarsync unpack.

tarsync-archives.py run DIR [NAME...]
        every row of tarsync-archives.tsv, in a folder of its own below DIR:
        refused with its status and message, in one line, nothing is changed
tarsync-archives.py cuts DIR
        one archive with a member of every form, cut at and around every
        block, and as gzip
tarsync-archives.py make NAME
        an archive that is accepted, to standard output

Nothing here is taken from the tool, or from a library that reads archives.
"""
import base64
import gzip
import hashlib
import io
import os
import random
import re
import resource
import shutil
import stat
import subprocess
import sys

BLOCK = 512
END = b'\0' * 2 * BLOCK
MEMORY = 32 * 1024	# KiB
MAKERS = {}
TABLE = os.path.splitext(os.path.abspath(__file__))[0] + '.tsv'


# --- what archives are made of ---

def number(value, size):
    return b'%0*o\0' % (size - 1, value)


def summed(block):
    block = block[:148] + b' ' * 8 + block[156:]
    return block[:148] + b'%06o\0 ' % sum(block) + block[156:]


def header(name, kind=b'0', size=0, mode=0o644, target=b'',
           magic=b'ustar\x0000', prefix=b'', patch=()):
    """A header; patch is (offset, bytes) pairs put over it."""
    block = (name[:100].ljust(100, b'\0') + number(mode, 8) + number(0, 8) * 2
             + number(size, 12) + number(0, 12) + b' ' * 8 + kind
             + target[:100].ljust(100, b'\0') + magic + b'\0' * 80
             + prefix.ljust(155, b'\0') + b'\0' * 12)
    for at, field in patch:
        block = block[:at] + field + block[at + len(field):]
    return summed(block)


def padded(content):
    return content + b'\0' * (-len(content) % BLOCK)


def member(name, content=b'', kind=b'0', size=None, **more):
    return header(name, kind, len(content) if size is None else size,
                  **more) + padded(content)


def folder(name, mode=0o755):
    return header(name, b'5', mode=mode)


def link(name, target):
    return header(name, b'2', target=target)


def hard(name, target):
    return header(name, b'1', target=target)


def long_name(name, kind=b'L'):
    return member(b'././@LongLink', name, kind, magic=b'ustar  \0')


def record(key, value):
    body = b' %s=%s\n' % (key, value)
    size = len(body)
    while len(b'%d' % size) + len(body) != size:
        size = len(b'%d' % size) + len(body)
    return b'%d' % size + body


def pax(*records, kind=b'x'):
    return member(b'pax', b''.join(records), kind)


def named(path, content=b'x'):
    return pax(record(b'path', path)) + member(b'x', content)


def sparse_1_0(name, real, text, data=b''):
    """A member of GNU's pax form 1.0 with any text as its map."""
    return pax(record(b'GNU.sparse.major', b'1'),
               record(b'GNU.sparse.minor', b'0'),
               record(b'GNU.sparse.name', name),
               record(b'GNU.sparse.realsize', b'%d' % real)) + \
        member(b's', padded(text) + data)


def runs(*pairs):
    return b'%d\n' % len(pairs) + b''.join(b'%d\n%d\n' % p for p in pairs)


def sparse_old(name, real, *pairs, data=b'', more=b'\0'):
    field = b''.join(number(a, 12) + number(n, 12) for a, n in pairs)
    return member(name, data, b'S', magic=b'ustar  \0', patch=[
        (386, field), (482, more), (483, number(real, 12))])


GOOD = member(b'good', b'good\n')


# --- the table's archives ---

def archive(name):
    """Registers a maker: of bytes, or of a list of chunks."""
    def take(make):
        MAKERS[name] = make
        return make
    return take


def simple(name, content, tail=END):
    """An archive that begins well and then has content."""
    MAKERS[name] = lambda at: GOOD + (
        content(at) if callable(content) else content) + tail


# Names that lead out.
for label, name in [
        ('absolute', b'/tmp/x'), ('dot-dot', b'../x'),
        ('dot-dot inside', b'a/../../x'), ('dot-dot last', b'a/..'),
        ('dot inside', b'a/./b'), ('two slashes inside', b'a//b'),
        ('empty', b'')]:
    simple('name: ' + label, member(name, b'x'))
simple('name: empty, a folder', header(b'', b'5'))
simple('name: ./, a link', link(b'./', b'good'))
simple('name: absolute folder', folder(b'/x/'))
simple('name: absolute by the prefix', member(b'x', prefix=b'/etc'))
simple('name: two slashes', member(b'//etc/x'))
simple('name: only dot-dot', member(b'..'))
simple('name: ./..', member(b'./..', kind=b'5'))
simple('name: dot-dot and a slash', folder(b'a/../'))
simple('name: dot-dot in the prefix', member(b'x', prefix=b'..'))
simple('name: GNU long, dot-dot', long_name(b'../' + b'l' * 120 + b'\0')
       + member(b'x'))
simple('name: pax, dot-dot', named(b'../x'))
simple('name: pax, NUL in it', named(b'a\0b'))
simple('name: pax, only a slash', named(b'/'))
simple('name: sparse, dot-dot', sparse_1_0(b'../s', 1, runs((0, 1)), b'd'))
simple('name: sparse, absolute', lambda at: sparse_1_0(at + b'/s', 1,
       runs((0, 1)), b'd'))
simple('name: absolute, the canary', lambda at: named(at + b'/old'))
simple('name: hard link, absolute', lambda at: pax(record(
    b'path', at + b'/h')) + hard(b'h', b'good'))
simple('name: link, dot-dot', link(b'../l', b'good'))
simple('name: GNU long, NUL in it', long_name(b'l' * 120 + b'\0more\0')
       + member(b'x'))
simple('name: GNU long, empty', long_name(b'') + member(b'x'))
simple('name: GNU long, absolute', long_name(b'/' + b'l' * 120 + b'\0')
       + member(b'x'))
simple('name: newline, dot-dot', named(b'a\nb/../../x'))
simple('name: 300 bytes in a middle component', named(b'a/' + b'c' * 300
       + b'/b'))
simple('name: deep folder', pax(record(b'path', b'c/' * 200))
       + folder(b'x'))
simple('name: deep file', named(b'c/' * 200 + b'c'))
simple('name: 256 bytes', named(b'c' * 256))
simple('name: 5000 bytes', named(b'c/' * 2500 + b'c'))

# What is not in the tree.
simple('scope: preserved', member(b'keep/x'))
simple('scope: excluded', member(b'a/node_modules/x'))
simple('scope: excluded itself', member(b'secret'))

# The runtime folder.
simple('runtime: a file in it', member(b'.paperclip-runtime/x', b'x'))
simple('runtime: as a file', member(b'.paperclip-runtime', b'x'))
simple('runtime: by the prefix', member(b'x', prefix=b'.paperclip-runtime'))
simple('runtime: dots and slashes', member(b'././/.paperclip-runtime/x'))
simple('runtime: a journal', member(b'.paperclip-runtime/staging/journal'))
simple('runtime: the manifest', member(b'.paperclip-runtime/manifest'))
simple('runtime: as a folder', folder(b'.paperclip-runtime/'))
simple('runtime: as a link', link(b'.paperclip-runtime', b'canary'))
simple('runtime: as a hard link', hard(b'.paperclip-runtime', b'good'))
simple('runtime: pax', named(b'.paperclip-runtime/x'))
simple('runtime: sparse', sparse_1_0(b'.paperclip-runtime/s', 1,
       runs((0, 1)), b'd'))
simple('runtime: hard link to the manifest', hard(
    b'h', b'.paperclip-runtime/manifest'))
simple('runtime: hard link to its lock', hard(
    b'h', b'.paperclip-runtime/staging.lock'))

# Hard links.
for label, target in [('absolute', b'/etc/passwd'), ('dot-dot', b'../x'),
                      ('absent', b'no'), ('itself', b'h'),
                      ('a folder', b'd'), ('a link', b'l')]:
    simple('hard link: to one that is ' + label, folder(b'd/')
           + link(b'l', b'good') + hard(b'h', target))
simple('hard link: with data', member(b'h', b'data', b'1', target=b'good'))
simple('hard link: to the canary', lambda at: pax(record(
    b'linkpath', at + b'/old')) + hard(b'h', b'x'))
simple('hard link: to a later member', hard(b'h', b'later')
       + member(b'later', b'x'))
simple('hard link: NUL', pax(record(b'linkpath', b'good\0x'))
       + hard(b'h', b'x'))
simple('hard link: no target', hard(b'h', b''))
simple('hard link: to a preserved file', hard(b'h', b'keep/k'))
simple('hard link: to a file of the tree', hard(b'h', b'sub/old'))
simple('hard link: to what became a link', link(b'good', b'lnk/old')
       + hard(b'h', b'good'))
simple('hard link: dot-dot behind ./', hard(b'h', b'./../canary/old'))
simple('hard link: through a link of the archive', lambda at: link(b'l', at)
       + hard(b'h', b'l/old'))
simple('hard link: over its own parent', member(b'd/f', b'x')
       + hard(b'd', b'd/f'))

# Links on the way.
simple('way: a link of the archive', link(b'l', b'/tmp') + member(b'l/x', b'x'))
simple('way: a link to the root', link(b'a', b'.') + link(b'a/b', b'..'))
simple('way: a file of the archive', member(b'good/x', b'x'))
simple('way: a link of the tree, file', member(b'lnk/x', b'x'))
simple('way: a folder that is not empty', member(b'd/x', b'x')
       + member(b'd', b'file'))
simple('way: a folder that becomes a link', lambda at: folder(b'd/')
       + link(b'd', at) + member(b'd/old', b'x'))
simple('way: a file that becomes a link', lambda at: member(b'd', b'x')
       + link(b'd', at) + folder(b'd/e/'))
simple('way: a link in a link', lambda at: folder(b'd/') + link(b'd/l', at)
       + link(b'd/l/m', b'x'))
simple('way: a link of the tree, folder', folder(b'lnk/new/'))
simple('way: a link of the tree, link', link(b'lnk/new', b'x'))
simple('way: a file of the tree', member(b'sub/old/x', b'x'))
simple('way: a hard link as a folder', hard(b'h', b'good')
       + member(b'h/x', b'x'))

# Links' targets.
simple('link: no target', header(b'l', b'2'))
simple('link: a target of 5000 bytes', pax(record(b'linkpath', b't' * 5000))
       + header(b'l', b'2'))
simple('link: with data', member(b'l', b'data', b'2', target=b'x'))
simple('inside: up', link(b'l', b'..'))
simple('inside: up after a name', link(b's/l', b'good/../x'))
simple('inside: absolute', lambda at: link(b'l', at))
simple('inside: two up from one', link(b'd/l', b'../..'))
simple('inside: up after down', link(b'd/l', b'e/../../..'))
simple('inside: up after a dot', link(b'l', b'./..'))
simple('inside: pax', pax(record(b'linkpath', b'../' * 40 + b'x'))
       + link(b'l', b'x'))
simple('inside: GNU long', long_name(b'../' * 40 + b'\0', b'K')
       + link(b'l', b'x'))

# Types.
for kind in b'3', b'4', b'6', b'D', b'\x80', b'\xff', b'Z':
    simple('type: %s' % ascii(kind)[2:-1], header(b'dev', kind))
simple('type: device in a folder', folder(b'd/') + header(b'd/null', b'3'))
simple('type: FIFO with data', member(b'fifo', b'data', b'6'))
simple('type: multi-volume', header(b'vol', b'M'))

# Limits.
simple('limit: bytes', member(b'a', b'x' * 6000))
simple('limit: bytes together', member(b'a', b'x' * 3000)
       + member(b'b', b'x' * 3000))
simple('limit: a file', member(b'a', b'x' * 6000))
simple('limit: members', b''.join(member(b'm%d' % i) for i in range(11)))
simple('limit: members that names imply', named(b'a/b/c/d/e/f/g/h/i/j'))
simple('limit: depth of a file', member(b'a/b/c'))
simple('limit: bytes of hard links', member(b'a', b'x' * 3000)
       + hard(b'b', b'a'))
simple('limit: bytes of a hole', sparse_1_0(b'a', 1 << 20, runs((0, 1)),
       b'd'))
simple('limit: a file, old sparse', sparse_old(b'a', 1 << 32, (0, 1),
       data=b'd'))
simple('limit: a file, pax size', pax(record(b'size', b'%d' % (1 << 40)))
       + member(b'a', b'd'))
simple('limit: a file, base-256', header(b'a', patch=[
    (124, b'\x80' + b'\0' * 3 + b'\x3f' + b'\xff' * 7)]))
simple('limit: members that are folders', b''.join(
    folder(b'd%d/' % i) for i in range(12)))
simple('limit: members that are links', b''.join(
    link(b'l%d' % i, b'x') for i in range(12)))
simple('limit: the same member again', folder(b'd/') * 12)
simple('limit: depth of a folder', folder(b'a/b/c/d/'))
simple('limit: bytes of a name', named(b'n' * 60))


@archive('bomb: gzip')
def zeros(_):
    """256 MB of zeros in 256 KB, made in little memory."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode='wb') as f:
        f.write(header(b'z', size=1 << 28))
        for _ in range(1 << 8):
            f.write(b'\0' * (1 << 20))
    return out.getvalue()


@archive('bomb: gzip of gzip')
def gzip_twice(_):
    return gzip.compress(gzip.compress(b'\0' * (1 << 24)))


@archive('bomb: base64 of gzip')
def text_bomb(_):
    return base64.encodebytes(gzip.compress(
        member(b'z', b'\0' * (1 << 22)) + END))


simple('bomb: old sparse map without end', lambda at: b''.join(
    [sparse_old(b's', 1 << 40, *[(i, 0) for i in range(4)], more=b'\1')]
    + [b''.join(number(i * 21 + j, 12) + number(0, 12) for j in range(21))
       + b'\1' + b'\0' * 7 for i in range(7000)]))
simple('bomb: sparse map in records', lambda at: pax(record(
    b'GNU.sparse.map', b','.join([b'0'] * 400000)),
    record(b'GNU.sparse.size', b'9')) + member(b's'))
simple('bomb: long link target', header(b'K', b'K', magic=b'ustar  \0',
       patch=[(124, b'\x80' + b'\0' * 5 + b'\x01' + b'\0' * 5)]))
simple('bomb: global header', header(b'g', b'g', 1 << 30))
simple('bomb: long name', header(b'L', b'L', 1 << 31))
simple('bomb: records', header(b'x', b'x', 1 << 32))
simple('bomb: sparse', sparse_1_0(b'hole', 1 << 50, runs((1 << 50, 0))))
simple('bomb: runs', sparse_1_0(b'hole', 1 << 50, b'99999999\n'))

# Header fields.
simple('field: checksum of 0', header(b'a')[:148] + b'000000\0 '
       + header(b'a')[156:])
simple('field: checksum of junk', header(b'a')[:148] + b'z' * 8
       + header(b'a')[156:])
simple('field: size of junk', header(b'a', patch=[(124, b'xyzzy')]))
simple('field: size of -1', header(b'a', patch=[(124, b'\xff' * 12)]))
simple('field: size of 2^94', header(b'a', patch=[(124, b'\x80'
                                                  + b'\x7f' * 11)]))
simple('field: size of junk, of a long name', long_name(
    b'l' * 120 + b'\0') + header(b'a', patch=[(124, b'xyzzy')]))
simple('field: size of junk, of a pax name', pax(record(b'path', b'long'))
       + header(b'a', patch=[(124, b'xyzzy')]))
simple('field: mode of letters', header(b'a', patch=[(100, b'rw-r--r-')]))
simple('field: size with a sign', header(b'a', patch=[(124, b'-0000000001\0')]))
simple('field: size in decimal', header(b'a', patch=[(124, b'00000000099\0')]))
simple('field: size with junk behind NUL', header(b'a', patch=[
    (124, b'0000001\0junk')]))
simple('field: size in hex', header(b'a', patch=[(124, b'0x0000000010')]))
simple('field: size of 2^63', header(b'a', patch=[
    (124, b'\x80\0\0\0\x80' + b'\0' * 7)]))
simple('field: size of -2^63', header(b'a', patch=[
    (124, b'\xff\xff\xff\xff\x80' + b'\0' * 7)]))
simple('field: mtime of junk', header(b'a', patch=[(136, b'yesterday\0\0\0')]))
simple('field: mtime of 2^62', header(b'a', patch=[
    (136, b'\x80\0\0\0\x40' + b'\0' * 7)]))
simple('field: mode with a sign', header(b'a', patch=[(100, b'-000644\0')]))
simple('field: checksum in base-256',
       header(b'a')[:148] + b'\x80' + b'\0' * 7 + header(b'a')[156:])
simple('field: checksum off by one', header(b'a')[:-1] + b'\1')
simple('field: folder with a size', header(b'd/', b'5', 512)
       + b'\0' * BLOCK)

# Records.
for label, text in [
        ('a sign', b'+9 path=x\n'), ('a space before', b' 9 path=x\n'),
        ('hex', b'0x9 path=x\n'), ('negative', b'-9 path=x\n'),
        ('into the next', b'11 path=x\n9 path=y\n'),
        ('beyond the text', record(b'path', b'a') + b'30 path=x\n'),
        ('only a number', b'3 \n'), ('nothing but zeros', b'\0' * 9),
        ('21 digits', b'0' * 19 + b'29 path=xxx\n'),
        ('20 nines', b'9' * 20 + b' path=x\n'),
        ('too long', b'99 path=x\n'), ('too short', b'5 path=x\n'),
        ('0', b'0 path=x\n'), ('none', b'path=x\n')]:
    simple('pax: length, ' + label, pax(text) + member(b'x'))
simple('pax: no newline', pax(b'9 path=xx') + member(b'x'))
simple('pax: no equals sign', pax(b'7 path\n') + member(b'x'))
simple('pax: no key', pax(b'5 =x\n') + member(b'x'))
simple('pax: no member', pax(record(b'path', b'x')))
simple('pax: size of more than there is', pax(record(b'size', b'100000'))
       + member(b'x', b'x'))
for key, value in [
        (b'size', b'1e3'), (b'size', b'-1'), (b'size', b'+5'), (b'size', b' 5'),
        (b'size', b'9' * 30), (b'mtime', b'1e9'), (b'mtime', b'--1'),
        (b'mtime', b'nan'), (b'mtime', b'9' * 30), (b'mtime', b'1,5')]:
    simple('pax: %s of %s' % (key.decode(), value.decode()[:9]),
           pax(record(key, value)) + member(b'x'))
simple('pax: global path', pax(record(b'path', b'x'), kind=b'g')
       + member(b'x'))
simple('pax: global behind records', pax(record(b'path', b'x' * 99))
       + pax(record(b'comment', b'y' * 99), kind=b'g') + member(b'x'))
simple('pax: global linkpath', pax(record(b'linkpath', b'x'), kind=b'g')
       + member(b'x'))
simple('pax: global size', pax(record(b'size', b'9'), kind=b'g')
       + member(b'x'))
simple('pax: global sparse', pax(record(b'GNU.sparse.major', b'1'),
       kind=b'g') + member(b'x'))
simple('pax: NUL in the sparse name', sparse_1_0(b's\0x', 1, runs((0, 1)),
       b'd'))
simple('GNU long: no member', long_name(b'n' * 120 + b'\0'))
simple('GNU long: negative size', header(b'L', b'L', patch=[
    (124, b'\xff' * 12)]))

# Sparse maps.
simple('sparse: old, negative', header(b's', b'S', magic=b'ustar  \0', patch=[
    (386, b'\xff' * 24), (483, number(4096, 12))]))
simple('sparse: old, overlapping', sparse_old(b's', 4096, (0, 10), (5, 10),
       data=b'd' * 20))
simple('sparse: old, beyond', sparse_old(b's', 100, (90, 20), data=b'd' * 20))
simple('sparse: old, unordered', sparse_old(b's', 4096, (512, 5), (0, 5),
       data=b'd' * 10))
simple('sparse: old, more than stored', sparse_old(b's', 4096, (0, 500),
       data=b'd' * 5))
simple('sparse: old, less than stored', sparse_old(b's', 4096, (0, 5),
       data=b'd' * 500))
simple('sparse: old, sum overflows', sparse_old(b's', 8 ** 11 - 1,
       (0, 8 ** 11 - 1), (8 ** 11 - 1, 8 ** 11 - 1), data=b'd'))
simple('sparse: 0.0, a length alone', pax(record(
    b'GNU.sparse.size', b'9'), record(b'GNU.sparse.numbytes', b'1'))
    + member(b's', b'd'))
simple('sparse: 0.0, two offsets', pax(record(
    b'GNU.sparse.size', b'9'), record(b'GNU.sparse.offset', b'0'),
    record(b'GNU.sparse.offset', b'1')) + member(b's', b'd'))
simple('sparse: 0.1, a last comma', pax(record(
    b'GNU.sparse.size', b'9'), record(b'GNU.sparse.map', b'0,1,'))
    + member(b's', b'd'))
simple('sparse: 0.1, signs', pax(record(
    b'GNU.sparse.size', b'9'), record(b'GNU.sparse.map', b'-1,1'))
    + member(b's', b'd'))
simple('sparse: 0.1, odd', pax(record(b'GNU.sparse.map', b'0,1,2'),
       record(b'GNU.sparse.size', b'9')) + member(b's', b'x'))
for label, pairs, stored in [
        ('unordered', [(1024, 5), (0, 5)], 10),
        ('overlapping', [(0, 10), (5, 10)], 20),
        ('beyond', [(1 << 20, 10)], 10), ('too little', [(0, 3)], 10)]:
    simple('sparse: 1.0, ' + label, sparse_1_0(b's', 4096, runs(*pairs),
                                              b'd' * stored))
simple('sparse: 1.0, of letters', sparse_1_0(b's', 9, b'one\n'))
simple('sparse: 1.0, overflow', sparse_1_0(
    b's', 9, runs((0, 1 << 62), (1 << 62, 1 << 63)), b'd'))
simple('sparse: 1.0, fewer than said', sparse_1_0(b's', 9, b'3\n0\n1\n',
       b'd'))
simple('sparse: 1.0, no newline', sparse_1_0(b's', 9, b'1' * BLOCK))
simple('sparse: 1.0, in no room', pax(record(b'GNU.sparse.major', b'1'),
       record(b'GNU.sparse.minor', b'0'), record(b'GNU.sparse.name', b's'),
       record(b'GNU.sparse.realsize', b'9')) + member(b's', b'1\n0\n'))
simple('sparse: of version 2', pax(record(b'GNU.sparse.major', b'2'),
       record(b'GNU.sparse.minor', b'0')) + member(b's', b'd'))

# The end, and what is around the archive.
simple('end: none', b'', b'')
simple('end: one zero block', b'', b'\0' * BLOCK)
simple('end: another archive', b'', END + GOOD + END)
MAKERS['end: nothing at all'] = lambda at: b''
MAKERS['end: of random bytes'] = lambda at: random.Random(1).randbytes(4096)
MAKERS['end: of text'] = lambda at: b'hello, world\n' * 100
simple('end: a header cut', header(b'next')[:300], b'')
simple('end: another header', b'', b'\0' * BLOCK + header(b'after') + END)
simple('end: one byte', b'', END + b'\1')
simple('end: a byte in the zeros', b'', b'\0' * 700 + b'\1' + b'\0' * 9539)
WHOLE = gzip.compress(GOOD + END, mtime=0)
MAKERS['gzip: wrong sum'] = lambda at: WHOLE[:-8] + b'\1\2\3\4' + WHOLE[-4:]
MAKERS['gzip: wrong size'] = lambda at: WHOLE[:-4] + b'\1\2\3\4'
MAKERS['gzip: only its head'] = lambda at: WHOLE[:10]
MAKERS['gzip: cut in its sum'] = lambda at: WHOLE[:-6]
MAKERS['gzip: another method'] = lambda at: WHOLE[:2] + b'\7' + WHOLE[3:]
MAKERS['gzip: plain, but asked for'] = lambda at: GOOD + END
MAKERS['gzip: a second archive'] = lambda at: WHOLE + WHOLE
MAKERS['gzip: cut'] = lambda at: WHOLE[:-12]
MAKERS['gzip: damaged'] = lambda at: WHOLE[:20] + b'\xff' * 3 + WHOLE[23:]
MAKERS['gzip: junk behind it'] = lambda at: WHOLE + b'junk'
TEXT = base64.encodebytes(GOOD + END)
MAKERS['base64: damaged'] = lambda at: TEXT[:1000] + b'!' + TEXT[1000:]
MAKERS['base64: cut'] = lambda at: TEXT[:1001]
MAKERS['base64: padding in the middle'] = lambda at: base64.b64encode(
    GOOD[:-2]) + base64.b64encode(GOOD + END)
MAKERS['base64: cut gzip'] = lambda at: base64.encodebytes(WHOLE[:-9])
MAKERS['base64: of text'] = lambda at: base64.encodebytes(b'hello\n' * 200)
MAKERS['base64: plain, but asked for'] = lambda at: GOOD + END


# Deltas.
def delta(name, *content, head=None):
    def make(at, since):
        first = head(since) if head else b'{"archive":1,"since":"%s"}\n' \
            % since
        return member(b'.paperclip-runtime/pc-sync', first) \
            + b''.join(content) + END
    make.delta = True
    MAKERS['delta: ' + name] = make


def deleted(*paths):
    return member(b'.paperclip-runtime/pc-deleted',
                  b''.join(p + b'\0' for p in paths))


delta('deletes outside', deleted(b'../canary/old'))
delta('deletes an absolute name', deleted(b'/etc/passwd'))
delta('deletes the manifest', deleted(b'.paperclip-runtime/manifest'))
delta('deletes a preserved file', deleted(b'keep/k'))
delta('deletes through a link', deleted(b'keep/l/old'))
delta('deletes an empty name', deleted(b''))
delta('deletes a/', deleted(b'sub/'))
delta('deletes out of order', deleted(b'sub/old', b'old'))
delta('deletes out of order, in two', deleted(b'sub/old'), deleted(b'old'))
delta('deletes twice', deleted(b'old', b'old'))
delta('deletes what it sends', member(b'old', b'new'), deleted(b'old'))
delta('deletes a folder, not its files', deleted(b'sub'))
delta('deletes the folder of what it sends', folder(b'sub'),
      member(b'sub/new', b'x'), deleted(b'sub', b'sub/old'))
delta('a deletion without its end', member(
    b'.paperclip-runtime/pc-deleted', b'old'))
delta('deletions as a link', link(b'.paperclip-runtime/pc-deleted', b'x'))
delta('over the limit of members', deleted(*(b'n%02d' % i
                                             for i in range(12))))
delta('a folder becomes a file, its files stay', member(b'sub', b'file'))
delta('without the folder', member(b'sub/new', b'x'))
delta('below a file', member(b'old/new', b'x'))
delta('out of order', member(b'z', b'x'), member(b'b', b'x'))
delta('the same member twice', member(b'b', b'x') * 2)
delta('a hard link to what was not sent', hard(b'h', b'old'))
delta('a second head', member(b'.paperclip-runtime/pc-sync', b'{}'))
delta('no JSON', head=lambda since: b'archive 1 ' + since)
delta('a number more', head=lambda since: b'{"archive":2,"since":"%s"}'
      % since)
delta('a key more', head=lambda since:
      b'{"archive":1,"since":"%s","x":1}' % since)
delta('a key twice', head=lambda since:
      b'{"since":"%s","since":"%s"}' % (since, since))
delta('a short id', head=lambda since: b'{"archive":1,"since":"%s"}'
      % since[:-2])
delta('an id of text', head=lambda since: b'{"archive":1,"since":"%s"}'
      % (b'z' * 64))
delta('a head of 5,000 bytes', head=lambda since:
      b'{"archive":1,"since":"%s"}' % since + b' ' * 5000)
delta('of an unknown tree', member(b'new', b'x'), head=lambda since:
      b'{"archive":1,"since":"%s"}' % (b'0' * 64))
delta('with --clean')
MAKERS['delta: the head is no file'] = lambda at: \
    link(b'.paperclip-runtime/pc-sync', b'/etc/passwd') + GOOD + END
MAKERS['delta: the head comes second'] = lambda at: GOOD + member(
    b'.paperclip-runtime/pc-sync', b'{"archive":1,"since":"%s"}'
    % (b'0' * 64)) + END
MAKERS['delta: deletions without a head'] = lambda at: GOOD \
    + deleted(b'old') + END


# --- what is accepted ---

ACCEPTED = {
    'twice': member(b'f', b'first') + member(b'f', b'second', mode=0o600),
    'file, then folder': member(b'f', b'x') + folder(b'f/')
    + member(b'f/g', b'g'),
    'folder, then file': folder(b'f/') + member(b'f', b'file'),
    'link, then file': link(b'f', b'/etc/passwd') + member(b'f', b'file'),
    'file, then link': member(b'f', b'x') + link(b'f', b'gone'),
    'folder with two modes': folder(b'd/', 0o555) + member(b'd/f', b'x')
    + folder(b'd/', 0o755),
    'folder with two modes, locked last': folder(b'd/') + member(b'd/f', b'x')
    + folder(b'd/', 0o500) + folder(b'd/', 0o555),
    'folders after what is in them': member(b'd/f', b'x') + folder(b'd/', 0o775)
    + member(b'e/g/f', b'x') + folder(b'e/g/', 0o444) + folder(b'e/', 0o444)
    + member(b'i/f', b'x'),
    'locked folder, then file': folder(b'd/', 0o555) + member(b'd', b'file')
    + folder(b'e/', 0o555) + member(b'e', b'x') + folder(b'e/'),
    'hard links with ./': folder(b'./') + member(b'./one', b'one\n')
    + hard(b'./two', b'./one'),
    'hard link to a hole': sparse_1_0(b'hole', 1 << 28, runs((1 << 27, 4)),
                                      b'data') + hard(b'again', b'hole'),
    'empty records': pax(record(b'path', b'')) + member(b'f', b'x'),
    'a lock of git': folder(b'.git/') + member(b'.git/index.lock', b'x')
    + member(b'.git/HEAD', b'x'),
    'a folder that is a lock of git': folder(b'.git/')
    + folder(b'.git/x.lock/') + member(b'.git/x.lock/f', b'x')
    + member(b'.git/HEAD', b'x'),
}


# --- running them ---

def look(root):
    """Everything below root as lstat has it, folders' times included."""
    found = {}
    for where, folders, files in os.walk(os.fsencode(root)):
        for name in [b'.'] * (where == os.fsencode(root)) + folders + files:
            full = os.path.join(where, name)
            st = os.lstat(full)
            what = (stat.filemode(st.st_mode), st.st_ino, st.st_nlink,
                    st.st_size, st.st_mtime_ns)
            if stat.S_ISLNK(st.st_mode):
                what += (os.readlink(full),)
            elif stat.S_ISREG(st.st_mode):
                with open(full, 'rb') as f:
                    what += (st.st_blocks, f.read(1 << 16))
            found[os.path.relpath(full, os.fsencode(root))] = what
    return found


def is_changed(before, after, status):
    """Paths that differ, but for the lock, and what a cut may leave."""
    runtime = b'target/.paperclip-runtime'
    mine = [runtime + b'/staging.lock']
    if status == 111:
        mine.append(runtime + b'/staging')
    return sorted(p for p in before.keys() | after.keys()
                  if before.get(p) != after.get(p) and p != runtime
                  and not any(p == m or p.startswith(m + b'/')
                              for m in mine))


def new_target(here):
    """A target that has been unpacked into, and a canary beside it."""
    os.makedirs(here + '/canary')
    with open(here + '/canary/old', 'w') as f:
        f.write('canary\n')
    base = member(b'old', b'old\n') + folder(b'sub/') + member(
        b'sub/old', b'old\n') + link(b'lnk', b'../canary') + END
    subprocess.run(['pc-tarsync', 'unpack', '-C', here + '/target', '-p',
                    'keep'], input=base, check=True)
    os.mkdir(here + '/target/keep')
    with open(here + '/target/keep/k', 'w') as f:
        f.write('kept\n')
    os.symlink('../../canary', here + '/target/keep/l')
    with open(here + '/target/.paperclip-runtime/manifest', 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest().encode()


def put(path, content):
    with open(path, 'wb') as f:
        f.write(content)


def apart(do):
    """In a process of its own: what a child takes over from us counts as
    the child's memory."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            do()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def under_sanitizers():
    return '/san/' in (shutil.which('pc-tarsync') or '')


def unpack(target, options, path):
    """The exit status, what it said, and the most memory that it had."""
    with open(path, 'rb') as source, open(path + '.said', 'w+b') as said:
        child = subprocess.Popen(['pc-tarsync', 'unpack', '-C', target,
                                  *options], stdin=source, stderr=said,
                                 stdout=said)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return child.returncode, said.read(), usage.ru_maxrss


def run_row(here, make, options, status, message):
    """What is wrong with the row, or None."""
    since = new_target(here)
    outside = os.fsencode(os.path.abspath(here)) + b'/canary'
    apart(lambda: put(here + '.tar', make(outside, since)
                      if hasattr(make, 'delta') else make(outside)))
    before = look(here)
    got, said, memory = unpack(here + '/target', options, here + '.tar')
    changed = is_changed(before, look(here), status)
    os.unlink(here + '.tar')
    os.unlink(here + '.tar.said')
    if got != status:
        return f'exit {got}, not {status}: {said!r}'
    if not re.fullmatch(rb'pc-tarsync: ' + message.encode() + rb'\n', said):
        return f'says {said!r}, not {message!r}'
    if re.search(rb'[^\x20-\x7e\n]', said):
        return f'says bytes as they are: {said!r}'
    if changed:
        return f'changed: {changed[:5]}'
    if memory > MEMORY and not under_sanitizers():
        return f'took {memory} KiB'
    return None


def table():
    """{name: (status, options, message)}"""
    found = {}
    with open(TABLE) as f:
        for line in f:
            if line.startswith('#') or not line.strip():
                continue
            name, status, options, message = line.rstrip('\n').split('\t')
            assert name not in found, name
            found[name] = (int(status), options.split(), message)
    return found


def run_table(top, only):
    rows, failed = table(), 0
    if rows.keys() != MAKERS.keys():
        print('not in both:', sorted(rows.keys() ^ MAKERS.keys()))
        return 1
    chosen = [name for name in rows if not only or name in only]
    for n, name in enumerate(chosen):
        status, options, message = rows[name]
        wrong = run_row(f'{top}/{n}', MAKERS[name], options, status, message)
        if wrong:
            failed += 1
            print(f'{name}: {wrong}')
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if own > MEMORY * 3 // 4:
        print(f'{own} KiB of our own: memory cannot be told')
        failed += 1
    print(f'{len(chosen)} rows, {failed} failed')
    return 1 if failed or len(chosen) < (1 if only else 60) else 0


def every_form():
    """An archive with a member of every form that is read."""
    return b''.join([
        folder(b'd/'), member(b'd/file', b'f' * 1500),
        named(b'p' * 150, b'x' * 600),
        long_name(b'g' * 150 + b'\0'), member(b'x', b'gnu'),
        long_name(b't' * 150 + b'\0', b'K'), link(b'link', b'x'),
        hard(b'hard', b'd/file'), sparse_1_0(b'new', 8192, runs((4096, 600)),
                                            b's' * 600),
        sparse_old(b'old form', 99999, (0, 1), (3, 1), (5, 1), (7, 1),
                   data=b'abcde', more=b'\1')[:BLOCK]
        + padded(number(9, 12) + number(1, 12)) + padded(b'abcde'), END])


def cut_once(here, archive, status):
    before = look(here)
    put(here + '.tar', archive)
    got, said, _ = unpack(here + '/target', ['--clean'], here + '.tar')
    changed = is_changed(before, look(here), 111)
    wrong = got != status or changed or not re.fullmatch(
        rb'pc-tarsync: [^\n]+: the archive ends early\n', said)
    return f'{got} {said!r} {changed[:5]}' if wrong else None


def run_cuts(top):
    here, whole, failed, tried = top + '/cut', every_form(), 0, 0
    new_target(here)
    points = sorted({at + more for at in range(0, len(whole) - BLOCK, BLOCK)
                     for more in (0, 1, 511)})
    packed = gzip.compress(whole, mtime=0)
    cuts = [(at, whole[:at]) for at in points if at <= len(whole) - BLOCK] \
        + [(f'{at} of gzip', packed[:at])
           for at in range(2, len(packed), 11)]
    for at, archive in cuts:
        tried += 1
        wrong = cut_once(here, archive, 111)
        if wrong:
            failed += 1
            print(f'cut at {at}: {wrong}')
    put(here + '.tar', whole)
    got, said, _ = unpack(here + '/target', ['--clean', '-p', 'keep'],
                          here + '.tar')
    if got != 0 or os.path.getsize(here + '/target/old form') != 99999:
        failed += 1
        print(f'not cut: {got} {said!r}')
    print(f'{tried} cuts, {failed} failed')
    return 1 if failed or tried < 60 else 0


def main(argv):
    if len(argv) >= 2 and argv[0] == 'run':
        return run_table(argv[1], argv[2:])
    if len(argv) == 2 and argv[0] == 'cuts':
        return run_cuts(argv[1])
    if len(argv) == 2 and argv[0] == 'make':
        sys.stdout.buffer.write(ACCEPTED[argv[1]] + END)
        return 0
    print(__doc__, file=sys.stderr)
    return 100


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
