"""Programs for the hunt for results that are computed more than once."""

from __future__ import annotations

# Processes with several threads that all make the same calls, released by a barrier. Each execution adds the number of
# its key to a file. Arguments: log, how processes are started, processes, threads, keys, rounds.
RACE = """
import asyncio, multiprocessing, sys, threading, warnings
from pcache import Cache
warnings.simplefilter("ignore", DeprecationWarning)  # forks of a process with threads
root, log, start, processes, width, keys, rounds = sys.argv[1:4] + [int(word) for word in sys.argv[4:]]
cache = Cache(root, signing_key=bytes(range(32)))

import os
def count(n):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, n.to_bytes(4, "big"))
    os.close(descriptor)

@cache.cached
def f(n):
    count(n)
    return [n] * 50

class Model:
    def __init__(self, name):
        self.name = name
    @cache.cached
    def fit(self, n):
        count(n)
        return [n] * 50

def call(n):
    return (Model("m").fit(n) if n % 3 == 0 else f(n)) == [n] * 50

async def in_tasks(numbers):
    return all(await asyncio.gather(*(asyncio.to_thread(call, n) for n in numbers)))

def work(barrier, wrong):
    def run(thread):
        for turn in range(rounds):
            numbers = range(turn * keys, (turn + 1) * keys)
            barrier.wait()
            right = asyncio.run(in_tasks(numbers)) if (turn + thread) % 5 == 0 else all([call(n) for n in numbers])
            if not right:
                wrong.value += 1
    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

if __name__ == "__main__":
    started = []
    context = multiprocessing.get_context("spawn")
    barrier, wrong = context.Barrier(processes * width), context.Value("i", 0)
    for number in range(processes):
        how = ("fork", "spawn", "forkserver")[number % 3] if start == "mixed" else start
        started.append(multiprocessing.get_context(how).Process(target=work, args=(barrier, wrong)))
        started[-1].start()
    for process in started:
        process.join()
    print(wrong.value, *(process.exitcode for process in started))
"""
