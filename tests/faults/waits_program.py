"""Programs for the hunt for waits that never end. Each ends only if every call in it ends."""

from __future__ import annotations

# Every execution adds a byte to the file in the second argument; the third is how many may go on to other calls.
BOUNDED = """
import threading
from pcache.runtime import misses, deadlock, resting
resting.PATIENCE, resting.WITH_THREADS = 0.3, 1
resting.LOOK = deadlock.LOOK = misses.LOOK = 0.1
def run_so_far():
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(log, b".")
    try:
        return os.fstat(log).st_size
    finally:
        os.close(log)
"""

# A ring: the computation of n calls n + 1, once all are computing. Arguments: log, length of the ring, own numbers.
RING = (
    BOUNDED
    + """
length, own = int(sys.argv[3]), [int(text) for text in sys.argv[4:]]
go, depth = threading.Event(), threading.local()
@cache.cached(ignore=["go"])
def f(n, go):
    run_so_far()
    if getattr(depth, "n", 0):
        return "leaf"
    depth.n = 1
    say("computing", n)
    go.wait()
    return f((n + 1) % length, go)
results = []
threads = [threading.Thread(target=lambda n=n: results.append(f(n, go))) for n in own]
for thread in threads:
    thread.start()
hear()
go.set()
for thread in threads:
    thread.join()
say(results)
"""
)

# Ways in which a function makes its own call again, mostly ones that Python gives no information about.
# Arguments: log, way, how many executions take it.
SAME_KEY = (
    BOUNDED
    + """
import asyncio, concurrent.futures, multiprocessing, queue, subprocess, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks of a process with threads
lock, before = threading.RLock(), {}
def in_a_new_pool(n):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(f, n).result()
def in_a_wide_pool(n):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return list(pool.map(f, [n, n, n]))[0]
def in_an_old_pool(n):
    return before["threads"].submit(f, n).result()
def in_a_process_pool(n):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(f, (n,))
def in_an_old_process_pool(n):
    return before["processes"].apply(f, (n,))
def in_a_thread(n):
    found = queue.Queue()
    threading.Thread(target=lambda: found.put(f(n)), daemon=True).start()
    return found.get()
def under_a_lock(n):
    with lock:
        return "inner"
def in_tasks(n):
    async def main():
        return await asyncio.gather(asyncio.to_thread(f, n), asyncio.to_thread(f, n))
    return asyncio.run(main())[0]
def in_an_executor(n):
    async def main():
        return await asyncio.get_running_loop().run_in_executor(None, f, n)
    return asyncio.run(main())
def in_a_fork(n):
    child = os.fork()
    if child == 0:
        try:
            f(n)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]
def in_a_process(n):
    command = [sys.executable, "-c", sys.orig_argv[2], *sys.argv[1:]]
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=True).returncode
def in_a_generator(n):
    return max(f(k) for k in (n, n))
def in_joblib_threads(n):
    from joblib import Parallel, delayed
    return Parallel(2, backend="threading")(delayed(f)(k) for k in (n, n))[0]

@cache.cached
def f(n):
    if run_so_far() > int(sys.argv[4]):
        return "leaf"
    say("computing")
    return globals()[sys.argv[3]](n)
before["threads"] = concurrent.futures.ThreadPoolExecutor(1)
before["threads"].submit(int).result()
if sys.argv[3] == "in_an_old_process_pool":
    before["processes"] = multiprocessing.get_context("fork").Pool(1)
if sys.argv[3] == "under_a_lock":
    with lock:
        other = threading.Thread(target=f, args=(1,))
        other.start()
        hear()  # once the other is computing
        result = f(1)
    other.join()
else:
    result = f(1)
say("result", result)
if "processes" in before:
    before["processes"].terminate()
    before["processes"].join()
"""
)

# A call that fails when it is told to go on.
FAILING = """
from pcache.runtime import misses, deadlock, resting
resting.LOOK = deadlock.LOOK = misses.LOOK = 0.1
@cache.cached
def f(n):
    say("computing")
    hear()
    raise ValueError(n)
say("ready")
hear()
try:
    f(1)
except ValueError:
    say("raised")
"""
