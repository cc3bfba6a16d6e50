"""The matrix's pytest plugin: what an environment promises is held against what each test did.

::

    contract.py    [tool.skipproof] in pyproject.toml: capabilities, environments, the exact skip reason
    detection.py   what is really installed: there, not there, or broken; the preflight of a named run
    drift.py       what is installed against the lock, by package and by file
    search_path.py folders on the path that are no part of the environment
    gate.py        one test's reports against the contract
    canary.py      faults planted at every run, which the gates must find
    plugin.py      the pytest hooks: marks, header, skips
    named_run.py   the pytest hooks of a run with --environment: gates, receipt, summary
    exits.py       each gate's own exit status
    receipts.py    what a run leaves behind, and the digests that tie it to its sources and lock
    audit.py       reasons to refuse a set of receipts
    grid.py        test file x session, as text and as markdown
    cover.py       the sessions' coverage data, merged, reported and gated
    matrix.py      all of it as data, for the report and for other programs
    page.py        the report as one HTML page, made of what lies in page_assets
    merge.py       the command: python -m tests.skipproof.merge

Copy the folder to use it elsewhere: it needs pytest and pydantic (merging needs coverage), nothing of the project
around it, and reads everything it has to know from ``[tool.skipproof]``.
"""
