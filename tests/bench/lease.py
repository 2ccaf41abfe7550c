"""pc-lease: acquire and release, in one process, by kind of store.

On PostgreSQL beside pgbench with the same statements, prepared, over one
connection: what is left is what pc-lease does itself.
"""

import glob
import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time

from procs import Failed
from ways import environment, make_dir, tool

# What acquire and release say to the store; \set gives each pair a name.
SAME = r"""
\set n random(1, 1000000000000000)
BEGIN;
SELECT id, company, name, driver, status, config, fingerprint, created,
 updated, is_default, token FROM pc_environments
 WHERE company = 'default' AND name = 'box';
ROLLBACK;
BEGIN;
UPDATE pc_environments SET token = (SELECT CASE
 WHEN pc_environments.token >= clock.us THEN pc_environments.token + 1
 ELSE clock.us END FROM (SELECT pc_now() * 1000 AS us) AS clock)
 WHERE company = 'default' AND name = 'box' AND status = 'active'
 RETURNING id, config, fingerprint, token;
INSERT INTO pc_leases (id, company, environment, workspace, issue, run,
 status, outcome, policy, provider, provider_lease, fingerprint, failure,
 cleanup, metadata, token, acquired, used, expires, released) VALUES
 ('lease ' || CAST(:n AS BIGINT), 'default',
 (SELECT id FROM pc_environments LIMIT 1), '', '',
 'run ' || CAST(:n AS BIGINT), 'active', '', 'ephemeral', '', '', '', '', '',
 '{}', 1, pc_now(), pc_now(), pc_now() + 60000, 0)
 RETURNING id, company, environment, metadata, token, expires;
INSERT INTO pc_activities (at, company, actor, run, action, kind, entity,
 details) VALUES (pc_now(), 'default', 'bench', 'run',
 'environment.lease_acquired', 'lease', 'lease', '{"environmentId":"none"}');
COMMIT;
BEGIN;
SELECT id, company FROM pc_leases WHERE company = 'default' AND
 run = 'run ' || CAST(:n AS BIGINT) AND status = 'active' ORDER BY id;
ROLLBACK;
BEGIN;
SELECT id, company, environment, status, metadata, token, pc_now()
 FROM pc_leases WHERE company = 'default' AND
 id = 'lease ' || CAST(:n AS BIGINT);
SELECT id, company, name, driver, status, config FROM pc_environments
 WHERE name = 'box';
UPDATE pc_leases SET status = 'released', released = CASE WHEN released = 0
 THEN pc_now() ELSE released END WHERE
 id = 'lease ' || CAST(:n AS BIGINT) AND status = 'active'
 RETURNING id, company, environment, metadata, token, expires;
INSERT INTO pc_activities (at, company, actor, run, action, kind, entity,
 details) VALUES (pc_now(), 'default', 'bench', 'run',
 'environment.lease_released', 'lease', 'lease', '{"environmentId":"none"}');
COMMIT;
"""


class Server:
    """A PostgreSQL of its own, gone at the end of a with."""

    def __init__(self, parent):
        self.parent = parent
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not found:
            raise Failed("postgresql: not installed")
        self.bin = found[-1]
        self.user = {}
        if os.getuid() == 0:
            self.user = {"user": "postgres", "group": "postgres",
                         "extra_groups": []}

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="pc-bench.", dir=self.parent)
        if self.user:
            os.chown(self.path, pwd.getpwnam("postgres").pw_uid, -1)
        data = os.path.join(self.path, "data")
        subprocess.run([f"{self.bin}/initdb", "-D", data, "-U", "lease",
                        "-A", "trust"], check=True, cwd=self.path,
                       stdout=subprocess.DEVNULL, **self.user)
        self.process = subprocess.Popen(
            [f"{self.bin}/postgres", "-D", data, "-k", self.path,
             "-c", "listen_addresses="], cwd=self.path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.user)
        for _ in range(1000):
            if subprocess.run([f"{self.bin}/pg_isready", "-q", "-h",
                               self.path], check=False).returncode == 0:
                return self
            time.sleep(0.01)
        raise Failed("postgresql: does not start")

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.path, ignore_errors=True)

    def url(self):
        return f"postgresql://lease@/postgres?host={self.path}"

    def bare_rate(self, seconds):
        script = os.path.join(self.path, "same.sql")
        with open(script, "w", encoding="utf-8") as file:
            file.write(SAME)
        out = subprocess.run(
            [f"{self.bin}/pgbench", "-n", "-M", "prepared", "-T",
             str(seconds), "-h", self.path, "-U", "lease", "-f", script,
             "postgres"], capture_output=True, text=True, check=False)
        for line in out.stdout.splitlines():
            if line.startswith("tps = "):
                return float(line.split()[2])
        raise Failed("pgbench: " + out.stderr.strip()[:200])


def pair_rate(store, pairs, policy):
    """Pairs of acquire and release a second, by pc-lease batch."""
    environ = environment(PC_STORE=store)
    lines = "".join(
        f"acquire box --run r{n} --policy {policy}\nrelease --run r{n}\n"
        for n in range(pairs))
    begin = time.perf_counter()
    out = subprocess.run([tool("pc-lease"), "batch"], input=lines, text=True,
                         capture_output=True, env=environ, check=True)
    took = time.perf_counter() - begin
    if any(json.loads(line)["status"] for line in out.stdout.splitlines()):
        raise Failed("pc-lease: not all were acquired and released")
    return pairs / took


def add_environment(store):
    subprocess.run([tool("pc-lease"), "env", "add", "box"], check=True,
                   env=environment(PC_STORE=store),
                   stdout=subprocess.DEVNULL)


def measure(parent, quick):
    """Rates by store, round by round."""
    rounds, pairs = (3, 500) if quick else (5, 2000)
    found = {"sqlite": [], "sqlite, one lease": [], "postgresql": [],
             "bare": []}
    folder = make_dir(parent)
    try:
        store = os.path.join(folder, "lease.db")
        add_environment(store)
        for _ in range(rounds):
            found["sqlite"].append(pair_rate(store, pairs, "ephemeral"))
            found["sqlite, one lease"].append(
                pair_rate(store, pairs, "reuse_by_environment"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    with Server(parent) as server:
        add_environment(server.url())
        for _ in range(rounds):
            found["postgresql"].append(
                pair_rate(server.url(), pairs, "ephemeral"))
            found["bare"].append(server.bare_rate(1 if quick else 2))
    return found


def ratios(found):
    """Of ours on PostgreSQL to the bare statements, round by round."""
    return [ours / bare
            for ours, bare in zip(found["postgresql"], found["bare"])]
