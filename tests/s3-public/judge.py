"""Compares the results of the public test with what is known to be skipped. `judge.py RESULTS SKIPPED`"""

import json
import sys


def main():
    results, skipped = sys.argv[1:]
    by_status = {}
    with open(results) as file:
        for line in file:
            if line.startswith("{"):
                result = json.loads(line)
                by_status.setdefault(result["status"], []).append(result)
    names = {status: {result["name"] for result in found} for status, found in by_status.items()}
    with open(skipped) as file:
        known = {line.split(maxsplit=1)[0] for line in file if line.strip() and not line.startswith("#")}
    for result in by_status.get("FAIL", []):
        print(f"FAILED {result['name']}: {result.get('message')}\n{result.get('error')}")
    wrong = names.get("NA", set()) ^ known
    for name in sorted(wrong):
        print(f"{name} is {'skipped, and not' if name in names.get('NA', set()) else 'not skipped, but'} listed")
    counts = [len(by_status.get(status, [])) for status in ("PASS", "FAIL", "NA")]
    print("{} passed, {} failed, {} skipped".format(*counts))
    return 1 if wrong or counts[1] or not counts[0] else 0


sys.exit(main())
