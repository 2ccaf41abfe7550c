#!/usr/bin/env python3
"""The three-way merge, said once more: an independent model of pc-manifest(5).

A tree is {path: node}; a node is ('dir', mode), ('file', mode, content) or
('link', target).  Baseline, source and target go in; out come the target as
it will be, the report, and the host's versions that were saved.
"""

PROTECTED = ('hooks', 'config', 'config.worktree', 'commondir')


def order(path):
    return path.split('/')


def unit_of(path):
    """The repository that path is or is in, and what follows it."""
    parts = path.split('/')
    if '.git' not in parts:
        return None, None
    at = parts.index('.git')
    return '/'.join(parts[:at + 1]), parts[at + 1:]


def protected(path, node):
    unit, rest = unit_of(path)
    if unit is None or node is None:
        return False
    if node[0] == 'link' or (not rest and node[0] != 'dir'):
        return True
    if rest and rest[0] in PROTECTED:
        return True
    return bool(rest) and rest[0] in ('modules', 'worktrees') and any(
        part in PROTECTED for part in rest[1:])


def inside(path, target):
    if not target or target.startswith('/'):
        return False
    up, down = 0, False
    for part in target.split('/'):
        if part == '..':
            if down:
                return False
            up += 1
        elif part not in ('', '.'):
            down = True
    return up <= path.count('/')


def below(path, top):
    return path.startswith(top + '/')


class Merge:
    def __init__(self, base, source, target, policy='source', links='inside',
                 allow=False):
        self.b, self.s, self.t = base, source, dict(target)
        self.host = dict(target)
        self.policy, self.links, self.allow = policy, links, allow
        self.report, self.saved = [], {}
        self.void, self.kept, self.moved = set(), set(), set()

    def say(self, path, action, conflict=False, reason=None, saved=False):
        line = {'path': path, 'action': action, 'conflict': conflict}
        if reason:
            line['reason'] = reason
        if saved:
            line['saved'] = True
        self.report.append(line)

    def save(self, path, node):
        assert path not in self.saved, path
        self.saved[path] = node

    def run(self):
        done = set()
        delta = sorted((p for p in self.b.keys() | self.s.keys()
                        if self.b.get(p) != self.s.get(p)), key=order)
        for path in delta:
            unit, _ = unit_of(path)
            if unit is None:
                self.decide(path)
            elif unit not in done:
                done.add(unit)
                self.repository(unit)
        # Folders go, deepest first, when nothing is in them.
        for path in sorted(self.emptied, key=order, reverse=True):
            if not any(below(p, path) for p in self.t):
                self.t.pop(path, None)
        self.report.sort(key=lambda line: order(line['path']))
        return self

    emptied = ()

    def above(self, path, tops):
        return any(below(path, top) for top in tops)

    def blocked(self, path):
        """A parent on the host is a link or a file (ENOENT is not)."""
        parts = path.split('/')
        for i in range(1, len(parts)):
            node = self.host.get('/'.join(parts[:i]))
            if node is None:
                return False
            if node[0] != 'dir':
                return True
        return False

    def host_has(self, path):
        return self.host.get(path)

    def folder_same(self, path):
        return all(self.b.get(p) == self.host.get(p)
                   for p in self.b.keys() | self.host.keys()
                   if below(p, path))

    def remove_below(self, path):
        for p in [p for p in self.t if p == path or below(p, path)]:
            del self.t[p]

    def make_parents(self, path):
        parts = path.split('/')
        for i in range(1, len(parts)):
            parent = '/'.join(parts[:i])
            if parent not in self.t:
                self.t[parent] = self.s[parent]

    def put(self, path, node):
        self.make_parents(path)
        if node[0] != 'dir':
            self.remove_below(path)
        self.t[path] = node

    def decide(self, path):
        b, s = self.b.get(path), self.s.get(path)
        if b == s:
            return
        if s is None:
            return self.deleted(path, b)
        if self.above(path, self.kept):
            self.save(path, s)
            return self.say(path, 'kept', True, saved=True)
        void = self.above(path, self.void)
        t = None if void else self.host_has(path)
        blocked = not void and self.blocked(path)
        if blocked:
            t = None
        if t == s:
            return
        if s[0] == 'link' and self.links == 'inside' and \
                not inside(path, s[1]):
            self.save(path, s)
            return self.say(path, 'held', True, 'link', True)
        if blocked:
            self.save(path, s)
            return self.say(path, 'held', True, 'parent', True)
        if t is None:
            self.put(path, s)
            return self.say(path, 'applied', b is not None)
        if t == b:
            if t[0] == 'dir' and s[0] != 'dir':
                return self.over_folder(path, s, self.folder_same(path))
            if s[0] == 'dir' and t[0] != 'dir':
                self.void.add(path)
            self.put(path, s)
            return self.say(path, 'applied')
        if b and b[0] == s[0] == t[0] == 'file':
            # What the source changed, one thing, may be there already.
            if b[2] == s[2] and t[1] == s[1]:
                return
            if b[2] == s[2] and t[1] == b[1]:
                self.put(path, ('file', s[1], t[2]))
                return self.say(path, 'merged')
            if b[1] == s[1] and t[2] == s[2]:
                return
            if b[1] == s[1] and t[2] == b[2]:
                self.put(path, ('file', t[1], s[2]))
                return self.say(path, 'merged')
        self.conflict(path, s, t)

    def over_folder(self, path, s, same):
        if same:
            self.moved.add(path)
            self.put(path, s)
            return self.say(path, 'applied')
        if self.policy == 'target':
            self.save(path, s)
            return self.say(path, 'kept', True, saved=True)
        for p, node in self.host.items():
            if p == path or below(p, path):
                self.save(p, node)
        self.moved.add(path)
        self.put(path, s)
        self.say(path, 'applied', True, saved=True)

    def conflict(self, path, s, t):
        if self.policy == 'target':
            if s[0] == 'dir' and t[0] == 'dir':
                return self.say(path, 'kept', True)
            if s[0] == 'dir':
                self.kept.add(path)
            self.save(path, s)
            return self.say(path, 'kept', True, saved=True)
        if s[0] == 'dir' and t[0] == 'dir':
            self.put(path, s)
            return self.say(path, 'applied', True)
        if t[0] == 'dir':
            return self.over_folder(path, s, False)
        self.save(path, t)
        if s[0] == 'dir':
            self.void.add(path)
        self.put(path, s)
        self.say(path, 'applied', True, saved=True)

    def deleted(self, path, b):
        if self.above(path, self.void | self.kept | self.moved) or \
                self.blocked(path):
            return
        t = self.host.get(path)
        if t is None:
            return
        if t != b:
            return self.say(path, 'kept', True)
        if b[0] != 'dir':
            del self.t[path]
            return self.say(path, 'deleted')
        self.emptied = [*self.emptied, path]
        self.say(path, 'deleted' if self.folder_same(path) else 'kept')

    # --- repositories ---

    def repository(self, unit):
        paths = sorted((p for p in self.b.keys() | self.s.keys()
                        if p == unit or below(p, unit)), key=order)
        b, s, t = self.b.get(unit), self.s.get(unit), self.host.get(unit)
        if not self.allow and b != s and (
                (b and (s is None or s[0] != b[0])) or
                (s and s[0] != 'dir')):
            if t != s:
                self.save_whole(unit, 'protected')
            return
        guarded = {p for p in paths if not self.allow and (
            protected(p, self.b.get(p)) or protected(p, self.s.get(p)))}
        free = [p for p in paths if p not in guarded]
        extra = [p for p in self.host if below(p, unit) and p not in paths and
                 (self.allow or not protected(p, self.host[p]))]
        source = any(self.b.get(p) != self.s.get(p) for p in free)
        target = extra or any(self.b.get(p) != self.host.get(p) for p in free)
        equal = not extra and all(self.s.get(p) == self.host.get(p)
                                  for p in free)
        if source and target and not equal:
            return self.save_whole(unit, 'git')
        for p in paths:
            if p in guarded:
                if self.b.get(p) != self.s.get(p) != self.host.get(p):
                    if self.s.get(p):
                        self.save(p, self.s[p])
                    self.say(p, 'held', True, 'protected',
                             self.s.get(p) is not None)
            elif source and not equal:
                self.decide(p)

    def save_whole(self, unit, reason):
        self.say(unit, 'held', True, reason, True)
        for p, node in self.s.items():
            if p == unit or below(p, unit):
                # What the source did not change, the host may have lost.
                if self.b.get(p) != node or self.host.get(p) == node or \
                        not (p.split('/')[unit.count('/') + 1:]
                             or [''])[0] == 'objects':
                    self.save(p, node)
