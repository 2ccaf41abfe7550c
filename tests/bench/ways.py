"""The ways of carrying a call from a client to the API that are compared.

Each is started with the API's URL and then has a url, request headers, and
procs: the ids of its processes by what they are, the API's aside.
"""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile

from procs import Failed, Group, family, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.join(ROOT, "bin")
BUILD = os.path.join(ROOT, "build", "bench")

TOKEN = "bench-token-bench-token-bench-32"
API_TOKEN = "api-token"


def tool(name):
    path = os.path.join(BIN, name)
    if not os.access(path, os.X_OK):
        raise Failed(f"bin/{name} has not been built")
    return path


def make_dir(parent):
    return tempfile.mkdtemp(prefix="pc-bench.", dir=parent)


def environment(**more):
    """Ours, without what the tools would read by chance."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PAPERCLIP_", "PC_"))}
    return {**kept, **more}


class Way:
    def __init__(self, name):
        self.name = name
        self.group = Group()
        self.dir = None
        self.url = None
        self.headers = []
        self.roots = {}

    @property
    def procs(self):
        return {name: family(pid) for name, pid in self.roots.items()}

    def start(self, api_url):
        raise NotImplementedError

    def stop(self):
        self.group.stop()
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.dir = None


class Straight(Way):
    def start(self, api_url):
        self.url = api_url


class Tunnel(Way):
    """
    ssh -R, through an sshd of its own on the loopback.  Its calls/s vary from
    run to run: without a terminal ssh leaves Nagle's algorithm on, and some
    calls wait 40 ms for an acknowledgement (see the 99 of 100).
    """

    def make_server(self):
        """An sshd and its keys: its port."""
        self.dir = make_dir(None)
        for name in ("host", "user"):
            self.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "",
                      "-f", self.path(name)])
        return self.start_server()

    def start(self, api_url):
        port = self.make_server()
        line = self.start_client(port, api_url)
        # "Allocated port 12345 for remote forward to 127.0.0.1:23456"
        words = line.split()
        if words[:2] != ["Allocated", "port"]:
            raise Failed(f"ssh: {line}")
        self.url = f"http://127.0.0.1:{words[2]}"

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, argv):
        try:
            subprocess.run(argv, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failed(f"{argv[0]}: {error}") from error

    def start_server(self):
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
        if not sshd:
            raise Failed("sshd: not installed (package openssh-server)")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with open(self.path("config"), "w", encoding="ascii") as config:
            config.write(f"""ListenAddress 127.0.0.1:{port}
HostKey {self.path("host")}
AuthorizedKeysFile {self.path("user.pub")}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
MaxStartups 500
LogLevel ERROR
SetEnv HOME={self.dir}
""")
        with open(self.path("log"), "wb") as log:
            server = self.group.start([sshd, "-D", "-e", "-f",
                                       self.path("config")], stderr=log)
        self.roots["sshd"] = server.pid
        wait_for(lambda: self.listens(server, port), "sshd")
        return port

    def listens(self, server, port):
        if server.poll() is not None:
            with open(self.path("log"), encoding="utf-8") as log:
                raise Failed(f"sshd: {log.read().strip()}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False

    def words(self, port, *more):
        """ssh, and what makes it find the server; options follow."""
        words = ["ssh", "-F", "none", "-p", str(port), "-i",
                 self.path("user")]
        for option in ("IdentitiesOnly=yes", "BatchMode=yes",
                       "StrictHostKeyChecking=no",
                       f"UserKnownHostsFile={self.path('known')}", *more):
            words += ["-o", option]
        return words

    def start_client(self, port, api_url):
        target = api_url.removeprefix("http://")
        client = self.group.start(
            [*self.words(port, "LogLevel=INFO", "ExitOnForwardFailure=yes"),
             "-N", "-T", "-R", f"127.0.0.1:0:{target}",
             f"{getpass.getuser()}@127.0.0.1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self.roots["ssh"] = client.pid
        line = self.group.first_line(client, "ssh")
        while line.startswith("Warning: Permanently added"):
            line = self.group.first_line(client, "ssh")
        return line


class Run(Tunnel):
    """pc-run over such an sshd, with one connection for all its execs."""

    stream = True

    def channel(self, port):
        return [*self.words(port, "LogLevel=ERROR", "ControlMaster=auto",
                            f"ControlPath={self.path('mux')}",
                            "ControlPersist=30"),
                f"{getpass.getuser()}@127.0.0.1"]

    def config(self, channel, **more):
        """Its configuration, in a file."""
        path = self.path("run.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"channel": {"argv": channel, "stream": self.stream},
                       "state": self.path("state"),
                       "tools": {"local": os.path.join(BIN, "static",
                                                       "pc-tools")},
                       "workspace": {"remote": self.path("remote")}, **more},
                      file)
        return path

    def reach(self, port):
        """The port by which the server is reached."""
        return port

    def start(self, api_url):
        config = self.config(self.channel(self.reach(self.make_server())),
                             api={"url": api_url},
                             limits={"depth": 1024, "inFlight": 64})
        run = self.group.start(
            [tool("pc-run"), "-c", config, "--", "sh", "-c",
             'echo "$PAPERCLIP_API_URL $PAPERCLIP_API_KEY"; exec sleep 36000'],
            quiet=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env=environment(PC_API_TOKEN=API_TOKEN))
        self.url, token = self.group.first_line(run, "pc-run").split()
        self.headers = [f"authorization: Bearer {token}"]
        self.roots["pc-run"] = run.pid

    def stop(self):
        if self.dir:
            subprocess.run(["ssh", "-F", "none", "-O", "exit", "-o",
                            f"ControlPath={self.path('mux')}", "x"],
                           capture_output=True, check=False)
        super().stop()


class Delayed(Run):
    """The same over a link that takes ms each way."""

    def __init__(self, name, ms):
        super().__init__(name)
        self.ms = ms

    def reach(self, port):
        if self.ms == 0:
            return port
        link = self.group.start(
            [sys.executable, os.path.join(HERE, "delay.py"), str(port),
             str(self.ms)], stdout=subprocess.PIPE)
        return int(self.group.first_line(link, "delay.py"))


class SlowExec(Run):
    """The same with so many seconds more for every exec."""

    def __init__(self, name, seconds):
        super().__init__(name)
        self.seconds = seconds

    def channel(self, port):
        return ["sh", "-c", f'sleep {self.seconds}; exec "$@"', "sh",
                *super().channel(port)]


class Peer(Way):
    """The published peer: its gateway, its queue client, its worker."""

    def __init__(self, name, queue_parent):
        super().__init__(name)
        self.queue_parent = queue_parent

    def install(self, script="peer.mjs"):
        """
        Pinned, from the package registry, once for each version: the path of
        a script beside it.
        """
        folder = os.path.join(BUILD, "peer")
        done = os.path.join(folder, "installed.json")
        lock = os.path.join(HERE, "package-lock.json")
        if not shutil.which("node") or not shutil.which("npm"):
            raise Failed("node and npm are not installed")
        os.makedirs(folder, exist_ok=True)
        for name in ("package.json", "package-lock.json", "peer_call.mjs",
                     script):
            shutil.copy(os.path.join(HERE, name), folder)
        if not same_content(done, lock):
            run = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder, capture_output=True, text=True, check=False)
            if run.returncode != 0:
                raise Failed(f"npm ci: {run.stderr.strip()[-300:]}")
            shutil.copy(lock, done)
        return os.path.join(folder, script)

    def start(self, api_url):
        script = self.install()
        self.dir = make_dir(self.queue_parent)
        worker = self.group.start(
            ["node", script, os.path.join(self.dir, "queue"), api_url],
            stdout=subprocess.PIPE, env=environment(PC_API_TOKEN=API_TOKEN))
        ready = json.loads(self.group.first_line(worker, "peer.mjs"))
        self.url = ready["baseUrl"]
        self.headers = [f"authorization: Bearer {ready['token']}"]
        self.roots = {"gateway": ready["gateway"], "worker": ready["worker"]}

    @property
    def procs(self):
        gateway = self.roots["gateway"]
        return {"gateway": [gateway], "worker": [
            pid for pid in family(self.roots["worker"]) if pid != gateway]}


def same_content(a, b):
    try:
        with open(a, "rb") as one, open(b, "rb") as other:
            return one.read() == other.read()
    except OSError:
        return False


class Ours(Way):
    """pc-serve, and pc-drain | pc-allow | pc-forward | pc-respond."""

    def __init__(self, name, queue_parent):
        super().__init__(name)
        self.queue_parent = queue_parent

    def start(self, api_url):
        self.dir = make_dir(self.queue_parent)
        queue = os.path.join(self.dir, "queue")
        self.url = start_gateway(self.group, queue)["baseUrl"]
        self.headers = [f"authorization: Bearer {TOKEN}"]
        self.roots["pc-serve"] = self.group.started[-1].pid
        self.start_pipeline([
            ["pc-drain", "-f", "-q", queue],
            ["pc-allow"],
            ["pc-forward", "-u", api_url],
            ["pc-respond", "-q", queue]])

    def start_pipeline(self, commands):
        source = subprocess.DEVNULL
        for argv in commands:
            last = argv is commands[-1]
            process = self.group.start(
                [tool(argv[0])] + argv[1:], stdin=source,
                stdout=subprocess.DEVNULL if last else subprocess.PIPE,
                env=environment(PC_API_TOKEN=API_TOKEN))
            if source is not subprocess.DEVNULL:
                source.close()
            source = process.stdout
            self.roots[argv[0]] = process.pid


def start_gateway(group, queue, argv=None, depth=1024):
    """pc-serve in the foreground: what it wrote into ready.json."""
    serve = group.start(
        (argv or [tool("pc-serve")]) + ["-q", queue, "-l", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env=environment(PAPERCLIP_BRIDGE_TOKEN=TOKEN,
                        PAPERCLIP_BRIDGE_MAX_QUEUE_DEPTH=str(depth)))
    ready = os.path.join(queue, "ready.json")

    def is_ready():
        if serve.poll() is not None:
            raise Failed(f"pc-serve: ended with {serve.returncode}")
        return os.path.exists(ready)

    wait_for(is_ready, "pc-serve")
    with open(ready, encoding="utf-8") as file:
        return json.load(file)
