"""Runs the programs of benches/ in turns and compares the results with the targets.

Started by benches/run, which builds the programs. Standard library only.
"""

import argparse
import contextlib
import functools
import http.server
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
ENVOY = HERE / "target" / "venv" / "bin" / "envoy"
AUDIENCE = "https://api.example.test"
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
PROGRAMS = ["ours", "peers", "shipped"]
BATCH = 3e6  # nanoseconds that one program runs before the next one


def program(name):
    return str(TARGET / "release" / f"bench-{name}")


def pinned(cpu, *command):
    """Pins a command to the first or the last processor, so that the measured program has one alone."""
    return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[cpu]), *map(str, command)]


def median(values):
    return statistics.median(values)


# ---------------------------------------------------------------------------------------------- issuer


class Issuer(http.server.BaseHTTPRequestHandler):
    """Serves the metadata and the keys to every program."""

    folder = None

    def do_GET(self):
        if self.path.startswith("/.well-known/"):
            name = "metadata.json"
        elif self.path == "/jwks.json":
            name = "jwks.json"
        else:
            return self.send_error(404)
        body = (self.folder / name).read_bytes()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def issuer():
    """Creates new keys and tokens and serves them; yields their folder."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Issuer.folder = pathlib.Path(folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        subprocess.run([program("scenarios"), "fixture", folder, url], check=True)
        os.environ["BENCH_FIXTURE"] = folder
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Issuer.folder
        finally:
            server.shutdown()


# --------------------------------------------------------------------------------------------- oneshot


class Worker:
    """A program that executes one command at a time and sleeps between them."""

    def __init__(self, name, algorithm):
        command = pinned(-1, program(name), algorithm)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.subjects = self.read().split("\t")

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args} ended")
        return line.rstrip("\n")

    def execute(self, verb, subject, times):
        self.process.stdin.write(f"{verb}\t{subject}\t{times}\n")
        self.process.stdin.flush()
        return int(self.read())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Oneshot:
    """Nanoseconds per request of every subject, round by round, and its allocations."""

    def __init__(self, algorithm, rounds):
        workers = [Worker(name, algorithm) for name in PROGRAMS]
        subjects = [(worker, name) for worker in workers for name in worker.subjects]
        times, self.rounds, self.allocations = {}, {}, {}
        for worker, name in subjects:
            worker.execute("time", name, 50)  # fills caches and fetches keys
            once = worker.execute("time", name, 50) / 50
            times[name] = max(10, round(BATCH / once))
            self.rounds[name] = []
            self.allocations[name] = worker.execute("count", name, 100) / 100
        for _ in range(rounds):
            for worker, name in subjects:
                duration = worker.execute("time", name, times[name])
                self.rounds[name].append(duration / times[name])
        for worker in workers:
            worker.end()

    def ns(self, name):
        return median(self.rounds[name])

    def added(self, name):
        """What a subject adds to the request without a layer, in each round."""
        none = self.rounds[name.split("/")[0] + "/none"]
        return [value - base for value, base in zip(self.rounds[name], none)]

    def added_allocations(self, name):
        return self.allocations[name] - self.allocations[name.split("/")[0] + "/none"]

    def peers(self, kind):
        ours = ("none", "one extension", "ours")
        names = [name for name in self.rounds if name.startswith(kind)]
        return [name for name in names if not name.split("/")[1].startswith(ours)]


def over(above, below):
    """The median of the ratios of values of the same round."""
    return median([value / base for value, base in zip(above, below)])


# ------------------------------------------------------------------------------------------------ http


def envoy_configuration(folder, filtered, cached):
    provider = {
        "issuer": (folder / "issuer").read_text(),
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": (folder / "jwks.json").read_text()},
    }
    if cached:
        provider["jwt_cache_config"] = {"jwt_cache_size": 1000}
    package = "type.googleapis.com/envoy.extensions.filters.http"
    filters = [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": f"{package}.jwt_authn.v3.JwtAuthentication",
                "providers": {"p": provider},
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}],
            },
        }
    ] if filtered else []
    filters.append(
        {"name": "router", "typed_config": {"@type": f"{package}.router.v3.Router"}}
    )
    response = {"status": 200, "body": {"inline_string": "ok"}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": response}],
                }
            ]
        },
        "http_filters": filters,
    }

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {"name": "l", "address": address(0), "filter_chains": [{"filters": [chain]}]}
    return {
        "admin": {"address": address(0)},
        "static_resources": {"listeners": [listener]},
    }


class Server:
    """A process with a socket."""

    def __init__(self, name, command, find_address):
        self.name, self.rates, self.micros = name, [], []
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(pinned(0, *command), stdout=pipe, text=True)
        self.address = find_address(self.process)

    def cpu(self):
        """CPU time of all threads in nanoseconds."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks)

    def load(self, token, seconds):
        before = self.cpu()
        header = f"Authorization: Bearer {token}"
        command = pinned(-1, "wrk", "-t1", "-c32", f"-d{seconds}s", "-H", header)
        output = subprocess.run(
            [*command, f"http://{self.address}/"], check=True, capture_output=True, text=True
        ).stdout
        spent = self.cpu() - before
        if "Non-2xx" in output:
            sys.exit(f"{self.name}: {output}")
        requests = int(re.search(r"(\d+) requests in", output).group(1))
        self.rates.append(float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1)))
        self.micros.append(spent / requests / 1e3)

    def end(self):
        self.process.terminate()
        self.process.wait()


def ours_address(process):
    return process.stdout.readline().strip()


def envoy_server(folder, name, filtered, cached):
    path = folder / f"envoy-{filtered}-{cached}.json"
    admin = folder / f"envoy-{filtered}-{cached}.admin"
    path.write_text(json.dumps(envoy_configuration(folder, filtered, cached)))
    command = [ENVOY, "-c", path, "--concurrency", 1, "-l", "error", "--use-dynamic-base-id"]
    command += ["--admin-address-path", admin]

    def address(process):
        for _ in range(100):
            time.sleep(0.1)
            if process.poll() is not None:
                sys.exit("envoy ended")
            with contextlib.suppress(OSError, ValueError):
                url = f"http://{admin.read_text()}/listeners?format=json"
                status = json.load(urllib.request.urlopen(url, timeout=5))
                socket = status["listener_statuses"][0]["local_address"]["socket_address"]
                return f"127.0.0.1:{socket['port_value']}"
        sys.exit("envoy does not listen")

    return Server(name, command, address)


class Http:
    """Requests per second and CPU time per request, one server after the other in turns."""

    def __init__(self, folder, algorithm, rounds, seconds):
        token = (folder / f"{algorithm}.token").read_text()
        rust = {
            "none": "ours",
            "ours, warm": "ours",
            "ours, cold": "ours",
            "by hand, aws-lc-rs": "peers",
            "tower-oauth2-resource-server, aws-lc-rs": "peers",
            "oauth-resource-server": "peers",
            "huskarl-axum": "peers",
            "tower-oauth2-resource-server, default": "shipped",
        }
        servers = [
            Server(name, [program(of), algorithm, f"axum/{name}"], ours_address)
            for name, of in rust.items()
        ]
        if ENVOY.exists():
            make = functools.partial(envoy_server, folder)
            servers += [
                make("Envoy, none", False, False),
                make("Envoy, jwt_authn with its cache", True, True),
                make("Envoy, jwt_authn", True, False),
            ]
        for server in servers:
            server.load(token, 1)
            server.rates.clear()
            server.micros.clear()
        for _ in range(rounds):
            for server in servers:
                server.load(token, seconds)
        for server in servers:
            server.end()
        self.servers = {server.name: server for server in servers}

    def rate(self, name):
        return median(self.servers[name].rates)

    def micros(self, name):
        return median(self.servers[name].micros)

    def added(self, name):
        none = "Envoy, none" if name.startswith("Envoy") else "none"
        pairs = zip(self.servers[name].micros, self.servers[none].micros)
        return median([value - base for value, base in pairs])

    def rates(self, above, below):
        """The ratio of requests per second of a whole core, from CPU time. It equals wrk's ratio on an idle
        machine and is also valid on a busy one."""
        return over(self.servers[below].micros, self.servers[above].micros)


# --------------------------------------------------------------------------------------------- targets


# Name of each target and its former number; docs/performance.md defines them. Printed until the next change.
TARGETS = {
    "warm-overhead": "P1",
    "warm-vs-others": "P2",
    "cold-overhead": "P3",
    "cold-vs-default-build": "P4",
    "http-throughput": "P5",
    "allocations": "P6",
    "cache-memory": "P7",
    "key-rotation": "P8",
    "unknown-key-ids": "P9",
    "key-endpoint-outage": "P10",
    "outage-at-start": "P11",
    "unsupported-keys": "P12",
    "introspection": "P13",
    "session-overhead": "P14",
    "login-memory": "P15",
}
SCENARIOS = list(TARGETS)[6:]


class Report:
    """One line per target."""

    def __init__(self):
        self.lines = []

    def most(self, target, what, value, limit, digits=2):
        self.line(target, what, f"{value:.{digits}f} <= {limit}", value <= limit)

    def least(self, target, what, value, limit, digits=2):
        self.line(target, what, f"{value:.{digits}f} >= {limit}", value >= limit)

    def line(self, target, what, measured, met):
        self.lines.append((target, what, measured, met))

    def missed(self):
        return sum(not met for *_, met in self.lines)

    def sort(self):
        self.lines.sort(key=lambda line: list(TARGETS).index(line[0]))

    def show(self):
        for target, what, measured, met in self.lines:
            print(f"{target} ({TARGETS[target]}) {what} {measured} {'met' if met else 'missed'}")


def evaluate_oneshot(report, oneshots):
    limits = {"RS256": 1.15, "PS256": 1.15, "ES256": 1.05, "ES384": 1.03, "EdDSA": 1.08}
    for algorithm, one in oneshots.items():
        warm, cold = one.added("axum/ours, warm"), one.added("axum/ours, cold")
        report.most("warm-overhead", algorithm, over(warm, one.added("axum/one extension")), 1.8)
        peers = one.peers("axum")
        best = min(peers, key=lambda name: median(one.added(name)))
        if algorithm in ("RS256", "ES256"):
            least = 40 if algorithm == "RS256" else 100
            what = f"{algorithm} against {best.removeprefix('axum/')}"
            report.least("warm-vs-others", what, over(one.added(best), warm), least, 1)
        ratio = over(one.added("bare/ours, cold"), one.rounds["function/raw"])
        report.most("cold-overhead", algorithm, ratio, limits[algorithm], 4)
        if algorithm == "RS256":
            decode = one.rounds["function/jsonwebtoken::decode, aws-lc-rs"]
            ratio = over(one.added("bare/ours, cold"), decode)
            report.most("cold-overhead", "RS256 against jsonwebtoken::decode", ratio, 0.82, 4)
            default = one.added("axum/tower-oauth2-resource-server, default")
            report.least("cold-vs-default-build", algorithm, over(default, cold), 5)
        least = one.added_allocations("axum/one extension")
        hit = one.added_allocations("axum/ours, warm") - least
        report.most("allocations", f"{algorithm} warm, beyond one extension", hit, 2, 0)
        miss = one.added_allocations("axum/ours, cold")
        report.most("allocations", f"{algorithm} cold, beyond no layer", miss, 24, 0)


def evaluate_http(report, https):
    for algorithm, one in https.items():
        report.least("http-throughput", f"{algorithm} warm, of the rate without a layer", one.rates("ours, warm", "none"), 0.87)
        if algorithm == "RS256":
            shipped = [
                "oauth-resource-server",
                "huskarl-axum",
                "tower-oauth2-resource-server, default",
                "tower-oauth2-resource-server, aws-lc-rs",
            ]
            best = min(shipped, key=one.micros)
            ratio = one.rates("ours, cold", best)
            report.least("http-throughput", f"{algorithm} cold against {best}", ratio, 1.35)
        cache = "Envoy, jwt_authn with its cache"
        if cache in one.servers:
            added, theirs = one.added("ours, warm"), one.added(cache)
            what = f"{algorithm} {added:.2f} us of CPU against {theirs:.2f} of Envoy, ratio"
            report.most("warm-vs-others", what, added / theirs, 0.5)
            what = f"{algorithm} warm against Envoy with its cache"
            report.least("http-throughput", what, one.rates("ours, warm", cache), 2.5)


def evaluate_scenarios(report, targets):
    for target in targets:
        output = subprocess.run(
            [program("scenarios"), target], check=True, capture_output=True, text=True
        ).stdout
        for line in output.splitlines():
            found = json.loads(line)
            report.line(target, found["what"], found["measured"], found["met"])


# ---------------------------------------------------------------------------------------------- tables


def table(title, header, rows):
    yield from ["", f"### {title}", "", f"| {' | '.join(header)} |"]
    yield "|---|" + "--:|" * (len(header) - 1)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def grouped(number, digits=0):
    return f"{number:,.{digits}f}".replace(",", " ")


def function_table(oneshots):
    raw = "function/raw"
    rows = {
        "the layer, cold, everything it adds": lambda one: one.added("bare/ours, cold"),
        "`jsonwebtoken::decode`, aws-lc-rs": lambda one: one.rounds[
            "function/jsonwebtoken::decode, aws-lc-rs"
        ],
        "`jsonwebtoken::decode`, rust_crypto": lambda one: one.rounds[
            "function/jsonwebtoken::decode, rust_crypto"
        ],
    }
    cells = [["check of the signature, ns"] + [grouped(one.ns(raw)) for one in oneshots.values()]]
    for name, values in rows.items():
        ratios = [over(values(one), one.rounds[raw]) for one in oneshots.values()]
        cells.append([name] + [f"{ratio:.3f} x" for ratio in ratios])
    return table("One verification", ["", *oneshots], cells)


def oneshot_table(oneshots, kind, title):
    names = {name: None for one in oneshots.values() for name in one.rounds}
    names = [name for name in names if name.startswith(kind) and not name.endswith("/none")]
    first = next(iter(oneshots.values()))
    names.sort(key=lambda name: median(first.added(name)) if name in first.rounds else 0)

    def cell(one, name):
        if name not in one.rounds:
            return ""
        return f"{grouped(median(one.added(name)))} / {one.added_allocations(name):.0f}"

    rows = [
        [name.split("/", 1)[1], *(cell(one, name) for one in oneshots.values())] for name in names
    ]
    return table(title, ["", *oneshots], rows)


def http_table(https):
    header = ["server"]
    for algorithm in https:
        header += [f"{algorithm} req/s", "CPU us", "added us"]
    rows = []
    for name in next(iter(https.values())).servers:
        row = [name]
        for one in https.values():
            added = "" if name.endswith("none") else f"{one.added(name):.2f}"
            row += [grouped(one.rate(name)), f"{one.micros(name):.1f}", added]
        rows.append(row)
    return table("HTTP, one core: wrk -t1 -c32", header, rows)


def target_table(report):
    rows = []
    for target, what, measured, met in report.lines:
        rows.append([target, what, measured, "met" if met else "**missed**"])
    return table("Results", ["target", "", "measured", ""], rows)


def conditions(options):
    """Machine, date and load of a measurement."""
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    commit = subprocess.run(commit, capture_output=True, text=True).stdout.strip()
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()
    load = os.getloadavg()[0]
    yield (
        f"{time.strftime('%Y-%m-%d')}, commit {commit}, {os.cpu_count()} x "
        f"{model.group(1) if model else 'unknown processor'}, rustc {rustc[1]}, "
        f"load before the start {load:.1f}{', --quick' if options.quick else ''}."
    )


def write(block, lines):
    """Replaces a block of docs/performance.md."""
    begin, end = f"<!-- {block}: benches/run --write -->", f"<!-- /{block} -->"
    path = HERE.parent / "docs" / "performance.md"
    before, rest = path.read_text().split(begin)
    after = rest.split(end)[1]
    path.write_text("\n".join([before + begin, *lines, "", end + after]))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="few rounds: only checks that everything runs")
    options.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    options.add_argument("--write", action="store_true", help="update docs/performance.md")
    options.add_argument("--only", default="oneshot,http,scenarios")
    options.add_argument("--algorithms", default=",".join(ALGORITHMS))
    options = options.parse_args()
    parts, algorithms = options.only.split(","), options.algorithms.split(",")
    rounds = 5 if options.quick else 150
    lines = list(conditions(options))
    report, oneshots, https = Report(), {}, {}
    with issuer() as folder:
        if "oneshot" in parts:
            for algorithm in algorithms:
                oneshots[algorithm] = Oneshot(algorithm, rounds)
        if "http" in parts:
            rounds, seconds = (1, 1) if options.quick else (7, 2)
            for algorithm in ("RS256", "ES256"):
                if algorithm in algorithms:
                    https[algorithm] = Http(folder, algorithm, rounds, seconds)
    evaluate_oneshot(report, oneshots)
    evaluate_http(report, https)
    if "scenarios" in parts:
        evaluate_scenarios(report, SCENARIOS)
    report.sort()
    if oneshots:
        lines += function_table(oneshots)
        title = "Added to axum's `Router::oneshot`: ns / allocations"
        lines += oneshot_table(oneshots, "axum/", title)
        title = "Added to a bare tower service: ns / allocations"
        lines += oneshot_table(oneshots, "bare/", title)
    if https:
        lines += http_table(https)
    targets = list(target_table(report))
    print("\n".join(lines + targets), end="\n\n")
    if options.write:
        write("measured", lines)
        write("targets", targets)
    report.show()
    sys.exit(1 if options.strict and report.missed() else 0)


if __name__ == "__main__":
    main()
