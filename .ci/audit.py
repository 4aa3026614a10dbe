"""Look up every locked package in the database of known vulnerabilities, by pip-audit.

Exits with 1 if one has any. Where the database cannot be reached nothing is known, which is said
and is no failure: the same commit must not fail for want of a network.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements-cpu.lock", "requirements-no-deps.txt")
TIMEOUT_S = 300


def main() -> int:
    """Audit, and print what was found."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off"]
    for name in LOCKS:
        command += ["--requirement", str(ROOT / name)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        print("audit: offline, so nothing is known of these versions' vulnerabilities")
        return 0
    audited = [package for package in packages if "skip_reason" not in package]
    vulnerable = [package for package in audited if package["vulns"]]
    for package in vulnerable:
        for fault in package["vulns"]:
            mended = ", ".join(fault["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {fault['id']}, mended in {mended}")
    known = f"{len(audited)} of {len(packages)} packages found in the database"
    print(f"audit: {known}, {len(vulnerable)} with known vulnerabilities")
    if not audited:
        print("audit: offline, so nothing is known of these versions' vulnerabilities")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
