"""The matrix's pytest plugin: what an environment promises is held against what each test did.

::

    contract.py     [tool.skipproof] in pyproject.toml: capabilities, environments, the exact skip reason
    detection.py    what is really installed: there, not there, or broken; the preflight of a named run
    drift.py        what is installed against the lock, by package and by file
    search_path.py  folders on the path that are no part of the environment
    canary.py       faults planted at every run, which the gates must find
    plugin.py       the pytest hooks: marks, header, skips
    named_run.py    the pytest hooks of a run with --environment: gates, receipt, summary
    gate.py         one test's reports against the contract
    inventory.py    the tests that the files define against those that were collected
    trace.py        the real inference that happened while a test ran
    receipts.py     what a run leaves behind, and the digests that tie it to its sources and lock
    exits.py        each gate's own exit status
    audit.py        reasons to refuse a set of receipts
    coverage_data.py  the coverage data of a session's processes, in one file that holds in any folder
    cover.py        the sessions' coverage data, merged
    matrix.py       all of it as data, for the report and for other programs; collect.py fills it
    merge.py        the gate over all sessions: python -m skipproof.merge
    report.py       the report: python -m skipproof.report
    terminal.py     its table; markdown.py, junit.py and page.py are its other forms, summary.py what they share
    rooms.py        where packages come from, and what a session's room holds; locks.py compiles the locks
    processors.py   how many threads a session may use
    machine.py      which processor a run was on, and with which features

Copy the folder to use it elsewhere: it needs pytest and pydantic (merging needs coverage, the report rich),
nothing of the project around it, and reads everything it has to know from ``[tool.skipproof]``.
"""
