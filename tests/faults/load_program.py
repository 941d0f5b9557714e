"""Programs for the hunt with many processes and threads: what they call, and what their values prove."""

from __future__ import annotations

# A value contains its key and version, and data that follows from both. Versions come from a file that all processes
# add to, so that a computation that began later has a higher one.
VALUES = """
import hashlib
import numpy
def next_version():
    descriptor = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b".")
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)
def body_of(key, version):
    return hashlib.shake_128(f"{key} {version}".encode()).digest((10, 2000, 40_000, 300_000)[min(key % 40, 3)])
def value_of(key):
    version = next_version()
    body = body_of(key, version)
    # large ones are mapped when they are read, and the caller writes to them
    return [key, version, numpy.frombuffer(body, "u1").copy() if len(body) > 50_000 else body]
def version_in(key, value):
    there, version, body = value
    if there != key or bytes(body) != body_of(key, version):
        return None
    if isinstance(body, numpy.ndarray):
        body[:] = 7
    value[0] = "changed"
    return version
"""

# Run by each of many processes in its threads until the time is over. Arguments: versions, number of the process,
# threads, keys, seconds, seed. Prints how many calls were made, what was wrong, and how often everything was done.
WORKER = (
    VALUES
    + """
import collections, random, threading, time, warnings
warnings.simplefilter("error")
number, width, keys, seconds, seed = map(int, sys.argv[3:])
cache = Cache(sys.argv[1], signing_key=bytes(range(32)), max_entries=keys // 2, max_size="60 MiB", min_free=0)
@cache.cached
def f(key):
    return value_of(key)
@cache.cached
def g(key):
    return value_of(key)
counts, wrong, errors = [collections.Counter() for _ in range(width)], [], []  # adding to a counter is not atomic
def at_least(function, key, lowest, value):
    version = version_in(key, value)
    if version is None or version < lowest:
        wrong.append((function.__name__, key, lowest, version))
def act(chance, done, action):
    function, key = chance.choice([f, g]), chance.randrange(keys)
    if chance.random() < 0.3:
        key %= 8  # some keys are in great demand
    if action < 0.15:
        # Results that were computed before this call no longer count, in any process.
        lowest = next_version()
        at_least(function, key, lowest, function.refresh(key))
        at_least(function, key, lowest, function(key))
        done.update(calls=2, refresh=1)
    elif action < 0.2:
        function.invalidate(key)
        done.update(invalidate=1)
    elif action < 0.203:
        chance.choice([cache.clear, lambda: cache.clear(g), lambda: f.cache_clear()])()
        done.update(clear=1)
    elif action < 0.206:
        cache.evict(max_entries=keys // 4)
        done.update(evict=1)
    elif action < 0.208:
        problems = cache.verify(repair=chance.random() < 0.5).problems
        errors.extend(problems)
        done.update(verify=1)
    elif action < 0.21:
        cache.recompress(chance.choice(["none", 3]), function=chance.choice([None, f]))
        done.update(recompress=1)
    elif action < 0.22:
        list(cache.entries())[:1], cache.stats()
        done.update(stats=1)
    else:
        at_least(function, key, 1, function(key))
        done.update(calls=1)
def work(thread):
    chance = random.Random(seed * 1000 + number * 100 + thread)
    first = [0.0, 0.9, 0.16, 0.9, 0.201, 0.204, 0.9, 0.207, 0.209, 0.215]  # each at least once
    while (first or time.monotonic() < end) and not errors:
        try:
            act(chance, counts[thread], first.pop() if first else chance.random())
        except BaseException as error:
            import traceback
            errors.append(traceback.format_exc())
say("ready")
hear()
end = time.monotonic() + seconds
threads = [threading.Thread(target=work, args=(thread,)) for thread in range(width)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
import json
done = sum(counts, collections.Counter())
say(json.dumps({"done": done, "wrong": wrong[:5], "errors": [str(error) for error in errors[:3]]}))
"""
)
