#!/usr/bin/env python3
"""
Faults under a whole run: something between the agent and its API is killed,
frozen, cut or stopped at a random moment, over each kind of channel.

    run.py [--rounds N] [--seed N] [--channel NAME] [--fault NAME]
           [--mutant twice|lie] [--self-test]

After each round: no unsafe call was carried out twice; what the agent was
told of each is true; what it left behind came back; the host's own files are
as they were; no process and no temporary is left on either side; and a run
that failed said why in one line.

--mutant breaks it on purpose: a host that sends every request twice, or one
that says of each that it was never sent.  --self-test runs both, and exits 0
when each was found out.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
TOP = os.path.dirname(TESTS)
STATIC = os.path.join(TOP, "bin", "static", "pc-tools")
PODMAN = ["podman", "--runtime=/usr/sbin/runc", "--cgroup-manager=cgroupfs",
          "--storage-driver=vfs"]
CALLS = 30
LIMIT = 90


class Wrong(Exception):
    """What must hold does not."""


# --- the API -----------------------------------------------------------------

class Api:
    """Counts each id that is posted to it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.posted = {}
        self.server = None
        self.port = 0
        self.start()

    def start(self):
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                name = json.loads(body)["body"]
                with api.lock:
                    api.posted[name] = api.posted.get(name, 0) + 1
                time.sleep(random.random() * 0.03)
                self.answer(201)

            def do_GET(self):
                self.answer(200)

            def answer(self, status):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *_):
                pass    # who called has been killed

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever,
                         kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def down_for(self, seconds):
        self.stop()
        time.sleep(seconds)
        self.start()


# --- processes ---------------------------------------------------------------

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def processes():
    """pid: (parent, start, command line)"""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        stat = read(f"/proc/{name}/stat").decode(errors="replace")
        line = read(f"/proc/{name}/cmdline").replace(b"\0", b" ")
        if ")" not in stat:
            continue
        fields = stat.rsplit(")", 1)[1].split()
        if fields[0] != "Z":
            found[int(name)] = (int(fields[1]), int(fields[19]),
                                line.decode(errors="replace"))
    return found


def kill(pid, signo):
    try:
        os.kill(pid, signo)
        return True
    except (ProcessLookupError, TypeError):
        return False


# --- broken on purpose -------------------------------------------------------

MUTANT = """#!/usr/bin/env python3
import json, subprocess, sys, threading
real = subprocess.Popen([%(real)r] + sys.argv[1:], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE)

def answers():
    for line in real.stdout:
        record = json.loads(line)
        if %(lie)r and "status" in record:
            record.update(status=502, body="{}", headers={
                "x-paperclip-bridge-outcome": "not-started"})
        sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\\n")
        sys.stdout.flush()

thread = threading.Thread(target=answers)
thread.start()
for line in sys.stdin.buffer:
    real.stdin.write(line)
    if not %(lie)r:
        real.stdin.write(line.replace(b'"id":"', b'"id":"again-', 1))
    real.stdin.flush()
real.stdin.close()
thread.join()
"""


def make_mutant(work, name):
    """A folder with our programs, and that one; it goes first on PATH."""
    own = os.path.dirname(os.path.realpath(shutil.which("pc-run")))
    folder = os.path.join(work, name)
    os.mkdir(folder)
    shutil.copy(os.path.join(own, "pc-run"), folder)
    for tool in ("pc-allow", "pc-tarsync"):
        os.symlink(os.path.join(own, tool), os.path.join(folder, tool))
    path = os.path.join(folder, "pc-forward")
    with open(path, "w", encoding="ascii") as file:
        file.write(MUTANT % {"real": os.path.join(own, "pc-forward"),
                             "lie": name == "lie"})
    os.chmod(path, 0o755)
    os.environ["PATH"] = folder + ":" + os.environ["PATH"]


def self_test():
    for name in ("twice", "lie"):
        done = subprocess.run(
            [sys.executable, os.path.abspath(__file__), "--mutant", name,
             "--rounds", "1", "--channel", "bwrap", "--fault", "nothing"],
            capture_output=True, text=True, check=False)
        if done.returncode != 1 or "carried out" not in done.stdout:
            print(f"{name}: not found out: {done.stdout}{done.stderr}")
            return 1
        print(f"{name}: found out")
    return 0


# --- channels ----------------------------------------------------------------

class Place:
    """A sandbox, a workspace, an API: for one round."""

    def __init__(self, lasting, kind, work):
        self.kind, self.work, self.lasting = kind, work, lasting
        self.remote = os.path.join(work, "remote")
        self.config = {"channel": {}, "tools": {"local": STATIC}}
        getattr(self, kind)()
        self.local = os.path.join(work, "W")
        os.mkdir(self.local)
        shutil.copy("/bin/busybox", os.path.join(self.local, "busybox"))
        self.write("mine", "the host's\n")
        self.config["workspace"] = {"local": self.local,
                                    "remote": self.remote}
        self.config["state"] = os.path.join(work, "state")

    def make_small(self):
        """The sandbox's folder on a disk of 8 MB: False if we may not."""
        os.makedirs(self.remote, exist_ok=True)
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", self.remote],
            capture_output=True, check=False).returncode == 0

    def release(self):
        subprocess.run(["umount", self.remote], capture_output=True,
                       check=False)

    def write(self, name, text):
        with open(os.path.join(self.local, name), "w",
                  encoding="utf-8") as file:
            file.write(text)

    def ssh(self):
        self.argv = ["ssh", "-F", self.lasting.ssh_config, "box"]

    def podman(self):
        self.remote = f"/work{os.path.basename(self.work)}"
        self.argv = [*PODMAN, "exec", "-i", self.lasting.box]
        self.config["tools"]["remote"] = "/pc-tools"

    def bwrap(self):
        os.mkdir(self.remote)
        self.argv = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev",
                     "--proc", "/proc", "--tmpfs", "/tmp", "--bind",
                     self.remote, self.remote, "--unshare-net",
                     "--unshare-pid", "--die-with-parent"]

    def batch(self):
        self.argv = [os.path.join(TESTS, "batch-channel.py"), "--delay",
                     "20"]
        self.config["channel"] = {"stream": False, "text": True,
                                  "outputMax": "1M"}

    def start(self, api, script):
        self.config["channel"]["argv"] = self.argv
        self.config["api"] = {"url": f"http://127.0.0.1:{api.port}",
                              "rules": os.path.join(self.work, "rules")}
        with open(os.path.join(self.work, "rules"), "w",
                  encoding="ascii") as rules:
            rules.write("GET /api/:x\nPOST /api/:x\n")
        path = os.path.join(self.work, "run.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.config, file)
        self.out = open(os.path.join(self.work, "out"), "ab")
        self.err = open(os.path.join(self.work, "err"), "ab")
        self.events = os.path.join(self.work, "events")
        return subprocess.Popen(
            ["pc-run", "-c", path, "--events", self.events, "--",
             f"{self.remote}/busybox", "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err,
            env=dict(os.environ, PC_API_TOKEN="t"))

    def text(self, name):
        return read(os.path.join(self.work, name)).decode(errors="replace")

    def is_ours(self, line):
        """A process in the sandbox, or of the channel to it."""
        return self.remote in line or self.scratch() in line

    def scratch(self):
        found = re.findall(r"/dev/shm/pc-run-[0-9a-f]{16}",
                           self.text("events"))
        return found[0] if found else "\0"

    def inside(self, word):
        return [pid for pid, (_, _, line) in processes().items()
                if word in line and self.is_ours(line) and
                "pc-run -c" not in line and "pc-exec" not in line]


class Lasting:
    """What the rounds have in common: an sshd, a container."""

    def __init__(self, work):
        self.work = work
        self.box = f"pc-faults-{os.getpid()}"
        self.ssh_config = os.path.join(work, "ssh", "ssh_config")

    def bash(self, text):
        done = subprocess.run(
            ["bash", "-c", "BATS_TEST_DIRNAME=$1 BATS_FILE_TMPDIR=$2\n"
             "bats_require_minimum_version() { :; }\n"
             '. "$1/helper.bash"\n. "$1/channels.bash"\n' + text, "bash",
             TESTS, self.work], stdin=subprocess.DEVNULL,
            capture_output=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{text}: {done.stderr.decode(errors='replace')}")

    def start(self, kinds):
        if "ssh" in kinds:
            self.bash('start_sshd "$2/ssh"')
        if "podman" in kinds:
            self.bash(f"start_box {self.box}")

    def restart_sshd(self):
        for pid, (_, _, line) in processes().items():
            if os.path.join(self.work, "ssh") in line or (
                    line.startswith("sshd: ") and self.is_child(pid)):
                kill(pid, signal.SIGKILL)
        try:
            os.remove(os.path.join(self.work, "ssh", "pid"))
        except OSError:
            pass
        self.bash('start_sshd "$2/ssh"')

    def is_child(self, pid):
        """Of our sshd."""
        table = processes()
        for _ in range(6):
            if pid not in table:
                return False
            if self.work in table[pid][2]:
                return True
            pid = table[pid][0]
        return False

    def stop(self):
        self.bash('stop_sshd "$2/ssh"')
        self.bash(f"stop_box {self.box} || :")


# --- faults ------------------------------------------------------------------

class Round:
    def __init__(self, place, api, lasting, process):
        self.place, self.api, self.lasting = place, api, lasting
        self.process = process

    def channels(self):
        """The host's ends: of the relay, of the agent."""
        table = processes()
        mine = sorted((start, pid) for pid, (parent, start, line) in
                      table.items() if parent == self.process.pid and
                      "pc-allow" not in line and "pc-forward" not in line and
                      "pc-tarsync" not in line)
        return [pid for _, pid in mine]

    def child(self, word):
        table = processes()
        return next((pid for pid, (parent, _, line) in table.items()
                     if parent == self.process.pid and word in line), None)

    def relay_killed(self):
        kill(next(iter(self.channels()), None), signal.SIGKILL)

    def agent_killed(self):
        kill((self.channels() or [None])[-1], signal.SIGKILL)

    def relay_frozen(self):
        pid = next(iter(self.channels()), None)
        kill(pid, signal.SIGSTOP)
        time.sleep(random.choice((0.3, 11.5)))
        kill(pid, signal.SIGCONT)

    def gateway_killed(self):
        pids = self.place.inside("pc-serve")
        table = processes()
        inner = [pid for pid in pids if table.get(pid, (0,))[0] in pids]
        kill(next(iter(inner), None), signal.SIGKILL)

    def supervisor_killed(self):
        pids = self.place.inside("pc-serve")
        table = processes()
        outer = [pid for pid in pids if table.get(pid, (0,))[0] not in pids]
        kill(next(iter(outer), None), signal.SIGKILL)

    def drain_killed(self):
        for pid in self.place.inside("pc-drain")[-1:]:
            kill(pid, signal.SIGKILL)

    def allow_killed(self):
        kill(self.child("pc-allow"), signal.SIGKILL)

    def forward_killed(self):
        kill(self.child("pc-forward"), signal.SIGKILL)

    def api_down(self):
        self.api.down_for(random.choice((0.2, 1.0, 1.0, 10.0)))

    def host_killed(self):
        kill(self.process.pid, signal.SIGKILL)

    def disk_full(self):
        """What the sandbox writes to has no room for a while."""
        path = os.path.join(self.place.remote, ".paperclip-runtime", "filler")
        try:
            with open(path, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            pass
        time.sleep(random.random() * 2)
        os.remove(path)

    def told(self):
        kill(self.process.pid, random.choice((signal.SIGTERM, signal.SIGINT)))

    def sshd_restarted(self):
        self.lasting.restart_sshd()


FAULTS = ["relay_killed", "agent_killed", "relay_frozen", "gateway_killed",
          "supervisor_killed", "drain_killed", "allow_killed",
          "forward_killed", "api_down", "host_killed", "told",
          "sshd_restarted", "disk_full", "nothing"]

SCRIPT = r"""
trap '' TERM
[ "%(ignore)s" = yes ] || trap - TERM
bb=$PC_WORKSPACE/busybox
n=0
echo of the agent >"$PC_WORKSPACE/theirs"
while [ $n -lt %(calls)d ]; do
	n=$((n + 1))
	out=$($bb wget -S -O - --header "Authorization: Bearer $PAPERCLIP_API_KEY" \
	    --header "Content-Type: application/json" \
	    --post-data "{\"body\":\"%(name)s.$n\"}" \
	    "$PAPERCLIP_API_URL/api/x" 2>&1)
	case $out in
	*"HTTP/1.1 2"*) echo "%(name)s.$n ok" ;;
	*"HTTP/1.1 502"* | *"HTTP/1.1 503"*) echo "%(name)s.$n not-started" ;;
	*"HTTP/1.1 409"*) echo "%(name)s.$n indeterminate" ;;
	*"HTTP/1.1 5"*) echo "%(name)s.$n error $out" ;;
	*) echo "%(name)s.$n unreachable"; $bb usleep 20000 ;;
	esac
done
"""


def wait_for(condition, seconds=10):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def finish(process):
    try:
        return process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Wrong(f"it did not end within {LIMIT} s") from None


def check_calls(place, api, name):
    for line in place.text("out").splitlines():
        words = line.split()
        if len(words) < 2 or not words[0].startswith(f"{name}."):
            continue
        times = api.posted.get(words[0], 0)
        if words[1] == "ok" and times != 1:
            raise Wrong(f"{line}: carried out {times} times")
        if words[1] == "not-started" and times != 0:
            raise Wrong(f"{line}: carried out {times} times")
        if words[1] == "error":
            raise Wrong(f"{line}: what is known is not said")
    twice = [call for call, times in api.posted.items()
             if call.startswith(f"{name}.") and times > 1]
    if twice:
        raise Wrong(f"carried out more than once: {twice}")


def check_left(place):
    def left():
        return [line for pid, (_, _, line) in processes().items()
                if place.is_ours(line) and pid != os.getpid()]
    if not wait_for(lambda: not left(), 15):
        raise Wrong(f"left running: {left()}")
    if place.kind != "podman" and os.path.exists(place.scratch()):
        raise Wrong(f"left: {place.scratch()}")
    runtime = os.path.join(place.remote, ".paperclip-runtime")
    if place.kind != "podman" and os.path.isdir(runtime):
        names = sorted(os.listdir(os.path.join(runtime, "pc-run")))
        if set(names) - {"pc-tools", "paperclip-bridge"}:
            raise Wrong(f"left in the runtime folder: {names}")


def check_workspace(place, name):
    with open(os.path.join(place.local, "mine"), encoding="utf-8") as file:
        if file.read() != "the host's\n":
            raise Wrong("the host's file has changed")
    if f"{name}." in place.text("out") and not os.path.exists(
            os.path.join(place.local, "theirs")):
        raise Wrong("what the agent made did not come back")


def play(number, lasting, api, kind, fault, work):
    place = Place(lasting, kind, work)
    if fault == "disk_full" and (kind == "podman" or not place.make_small()):
        fault = "nothing"
    try:
        return play_at(place, number, lasting, api, fault)
    finally:
        if fault == "disk_full":
            place.release()


def play_at(place, number, lasting, api, fault):
    name = f"r{number}"
    script = SCRIPT % {"name": name, "calls": CALLS,
                       "ignore": random.choice(("yes", "no"))}
    process = place.start(api, script)
    one = Round(place, api, lasting, process)
    if fault != "nothing":
        if not wait_for(lambda: f"{name}." in place.text("out") or
                        process.poll() is not None, 30):
            raise Wrong("the agent did not begin")
        time.sleep(random.random() * 0.4)
        getattr(one, fault)()
    status = finish(process)
    said = place.text("err").strip()
    if fault == "host_killed":
        # The next one finds what it left, and finishes it.
        status = finish(place.start(api, "exit 0"))
        said = place.text("err").strip()
        if status != 0:
            raise Wrong(f"the second run ended with {status}: {said}")
    if fault in ("nothing", "api_down", "gateway_killed", "drain_killed",
                 "allow_killed", "forward_killed", "relay_killed",
                 "relay_frozen", "disk_full") and status != 0:
        raise Wrong(f"exit {status}: {said}")
    if status not in (0, 100, 111, 130, 137, 143):
        raise Wrong(f"exit {status}: {said}")
    if status != 0 and not said and fault != "told":
        raise Wrong(f"exit {status}, and no word why")
    if len(said.splitlines()) > 2:
        raise Wrong(f"more than it should say: {said}")
    check_calls(place, api, name)
    check_left(place)
    check_workspace(place, name)
    return status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--channel")
    parser.add_argument("--fault")
    parser.add_argument("--mutant", choices=("twice", "lie"))
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        return self_test()
    seed = args.seed if args.seed is not None else int(time.time())
    random.seed(seed)
    print(f"seed {seed}", flush=True)
    kinds = [args.channel] if args.channel else ["ssh", "podman", "bwrap",
                                                 "batch"]
    work = tempfile.mkdtemp(prefix="pc-faults.")
    if args.mutant:
        make_mutant(work, args.mutant)
    lasting = Lasting(work)
    lasting.start(kinds)
    api = Api()
    wrongs = []
    try:
        for number in range(args.rounds):
            kind = kinds[number % len(kinds)]
            fault = args.fault or random.choice(FAULTS)
            if fault == "sshd_restarted" and kind != "ssh":
                fault = "relay_killed"
            folder = os.path.join(work, str(number))
            os.mkdir(folder)
            began = time.monotonic()
            try:
                status = play(number, lasting, api, kind, fault, folder)
                print(f"{number} {kind} {fault}: exit {status}, "
                      f"{time.monotonic() - began:.1f} s", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
            except Wrong as wrong:
                wrongs.append(f"{number} {kind} {fault}: WRONG: {wrong}; see "
                              f"{folder}")
                print(wrongs[-1], flush=True)
    finally:
        lasting.stop()
        if not wrongs:
            shutil.rmtree(work, ignore_errors=True)
    # Again at the end, where a log that was cut still has them.
    for wrong in wrongs:
        print(wrong)
    print(f"seed {seed}: {args.rounds} rounds, {len(wrongs)} failed")
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
