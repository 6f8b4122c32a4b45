"""Load on the annotation server: 20 annotators at once answer 10,000 questions; how long from answer to next question.

``python tests/benchmarks/annotation_load.py [ANNOTATORS QUESTIONS]``. Every answer is fsynced before it is acknowledged.
An annotator sends the next answer as soon as the next question has come: nobody thinks, so this is far more than 20
people do. ``--think SECONDS`` lets each wait that long in between.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from annotation_site import Client, Site


def load(site: Site, annotators: int, think: float = 0.0) -> list[float]:
    """Let *annotators* answer everything; return the seconds from each answer to the next question."""
    times: list[list[float]] = [[] for _ in range(annotators)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            client = Client(site, f"annotator {number:02}")
            questions = client.ask("next", want=2)["questions"]
            while questions:
                if think:
                    time.sleep(think)
                start = time.perf_counter()
                reply = client.answer(questions[0]["place"], ("yes", "no", "maybe")[questions[0]["place"] % 3])
                times[number].append(time.perf_counter() - start)
                assert client.status == 200, reply
                questions = reply["questions"]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(annotators)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sorted(seconds for each in times for seconds in each)


def main() -> None:
    """Print the percentiles."""
    parser = argparse.ArgumentParser()
    parser.add_argument("annotators", nargs="?", type=int, default=20)
    parser.add_argument("questions", nargs="?", type=int, default=10_000)
    parser.add_argument("--think", type=float, default=0.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), "maps", options.questions)
        busy = os.getloadavg()[0]
        start = time.perf_counter()
        try:
            times = load(site, options.annotators, options.think)
        finally:
            used = Path(f"/proc/{site.process.pid}/stat")
            ticks = sum(map(int, used.read_text().rpartition(")")[2].split()[11:13])) if used.exists() else 0
            site.close()
    spent = time.perf_counter() - start
    at = {q: 1000 * times[min(len(times) - 1, int(len(times) * q / 100))] for q in (50, 95, 99)}
    print(
        f"{options.annotators} annotators, {len(times):,} answers in {spent:.1f} s ({len(times) / spent:.0f} a second): "
        + ", ".join(f"p{q} {ms:.1f} ms" for q, ms in at.items())
        + f", longest {1000 * times[-1]:.0f} ms; load average {busy:.1f} before, {os.getloadavg()[0]:.1f} after,"
        f" {os.cpu_count()} CPUs, {1000 * ticks / os.sysconf('SC_CLK_TCK') / len(times):.2f} ms of CPU time an answer"
    )


if __name__ == "__main__":
    main()
