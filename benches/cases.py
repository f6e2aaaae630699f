#!/usr/bin/env python3
"""Measures that DNS does not wait for machines and cases: latency of answers beside a stream of hits, and beside one of harmless queries.

One server knows MACHINES machines and follows CASES open cases. Turn by turn, each machine asks for a listed name or for one that nobody
lists, at the same rate; a client of its own asks for a harmless name meanwhile and takes the time of each answer. What differs is
what identity and cases do. No network is needed: names are of a local zone, addresses are of 127.0.0.0/8.

    cargo build --release && python3 benches/cases.py target/release/sachdns
"""

import argparse
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time

CONFIG = """
data_dir = "data"
[server]
listen = ["127.0.0.1:{port}"]
[resolver]
upstreams = ["127.0.0.1:9"]
[sinkhole]
ipv4 = "127.0.0.1"
ipv6 = ""
http_listen = []
[[feed]]
name = "bench"
source = "feed.csv"
format = "csv"
gate = false
[[zone]]
name = "harmless.test"
file = "harmless.zone"
[[agency]]
id = "bench"
name = "Bench"
networks = ["127.0.0.0/8"]
"""
ZONE = """$ORIGIN harmless.test.
@ 60 SOA ns admin 1 60 60 60 60
@ 60 NS ns
ns 60 A 127.0.0.1
www 60 A 192.0.2.1
"""


def query(number, name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return number.to_bytes(2, "big") + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


def address(machine):
    return f"127.{1 + machine // 62500}.{machine // 250 % 250}.{1 + machine % 250}"


def ask(machine, name, server):
    """Asks as a machine, and leaves the answer to whoever wants it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((address(machine), 0))
        sender.sendto(query(machine & 0xFFFF, name), server)


def stream(server, names, machines, rate, until):
    """Machines that ask, one after the other."""
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic()) < until:
        if sent >= (now - begun) * rate:
            time.sleep(0.001)
            continue
        ask(sent * 7919 % machines, names[sent % len(names)], server)
        sent += 1


def probe(server, until, times):
    """A client that asks for a harmless name, and when each answer came, in microseconds."""
    taken = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect(server)
        number = 0
        while time.monotonic() < until:
            number = (number + 1) & 0xFFFF
            begun = time.perf_counter_ns()
            client.send(query(number, "www.harmless.test"))
            while client.recv(512)[:2] != number.to_bytes(2, "big"):
                pass
            taken.append((time.perf_counter_ns() - begun) / 1000)
            time.sleep(0.0005)
    times.put(taken)


def percentile(times, share):
    return times[min(int(len(times) * share), len(times) - 1)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sachdns", type=os.path.abspath)
    parser.add_argument("--machines", type=int, default=20_000)
    parser.add_argument("--cases", type=int, default=5_000)
    parser.add_argument("--rate", type=int, default=1_000, help="queries a second of the stream")
    parser.add_argument("--seconds", type=int, default=5, help="of each turn")
    parser.add_argument("--turns", type=int, default=4, help="of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, folder)


def measure(options, folder):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ("127.0.0.1", port)

    def write(name, text):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def run(*words):
        done = subprocess.run([options.sachdns, *words], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout

    def cases():
        return run("case", "list", "--config", "sachdns.toml", "--format", "jsonl").count("\n")

    write("sachdns.toml", CONFIG.format(port=port))
    write("harmless.zone", ZONE)
    write("feed.csv", "domain,family\n" + "".join(f"n{number}.evil.test,emotet\n" for number in range(100)))
    rows = [f"{address(n)},00:1a:2b:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x},PC-{n:05}" for n in range(options.machines)]
    write("machines.csv", "Địa chỉ IP,Địa chỉ MAC,Tên máy\n" + "\n".join(rows) + "\n")
    run("identity", "import", "machines.csv", "--agency", "bench", "--config", "sachdns.toml")
    child = subprocess.Popen(
        [options.sachdns, "serve", "--config", "sachdns.toml"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        while child.stderr.readline().strip() != "ready":
            if child.poll() is not None:
                sys.exit("sachdns does not start")
        begun = time.monotonic()
        for machine in range(options.cases):
            ask(machine, f"n{machine % 100}.evil.test", server)
            if machine % 50 == 49:
                time.sleep(0.005)
        while (open_cases := cases()) < options.cases:
            if time.monotonic() - begun > 120:
                sys.exit(f"{open_cases} cases after two minutes")
            time.sleep(0.1)
        print(f"{options.machines} machines; {open_cases} cases opened within {time.monotonic() - begun:.1f} s")
        listed, harmless = [f"n{number}.evil.test" for number in range(100)], ["www.harmless.test"]
        taken = {"harmless": [], "hits": []}
        for _ in range(options.turns):
            for kind, names in (("harmless", harmless), ("hits", listed)):
                until = time.monotonic() + options.seconds
                times = multiprocessing.Queue()
                others = [
                    multiprocessing.Process(target=stream, args=(server, names, options.cases, options.rate, until)),
                    multiprocessing.Process(target=probe, args=(server, until, times)),
                ]
                for other in others:
                    other.start()
                taken[kind] += times.get()
                for other in others:
                    other.join()
        print(f"answers beside {options.rate} queries a second, microseconds")
        print(f"{'beside':<10}{'answers':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}")
        shares = (0.5, 0.9, 0.99, 0.999)
        for kind, times in taken.items():
            times.sort()
            print(f"{kind:<10}{len(times):>9}" + "".join(f"{percentile(times, share):>9.0f}" for share in shares))
        ratios = [percentile(taken["hits"], share) / percentile(taken["harmless"], share) for share in shares]
        print(f"{'ratio':<19}" + "".join(f"{ratio:>9.2f}" for ratio in ratios))
        print(f"{cases()} cases at the end")
    finally:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    main()
