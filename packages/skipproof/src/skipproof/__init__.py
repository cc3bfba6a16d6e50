"""The matrix's pytest plugin: what an environment promises is held against what each test did.

::

    contract.py     what the table says: capabilities, environments, locks, the exact skip reason
    table.py        reads the table, and checks it
    table_files.py  the files in which it may stand, and how it is written there
    detection.py    what is really installed: there, not there, or broken; the preflight of a named run
    locks.py        what a lock pins here: requirements, pylock.toml, uv.lock
    drift.py        what is installed against the lock, by package and by file
    search_path.py  folders on the path that are no part of the environment
    canary.py       faults planted at every run, which the gate must find in pytest's own reports
    plugin.py       the pytest hooks: marks, header, skips
    named_run.py    the pytest hooks of a run in a named environment: gates, receipt, summary
    outcomes.py     what one test did, against the contract
    inventory.py    the tests that the files define against those that were collected
    trace.py        the real inference that happened while a test ran
    receipts.py     what a run leaves behind, and the digests that tie it to its sources and lock
    exits.py        each gate's own exit status
    session_checks.py    reasons to refuse a session's receipt, or several together
    session_coverage.py  the coverage data of a session's processes, in one file that holds in any folder
    merged_coverage.py   the sessions' coverage data, merged
    assembly.py     receipts and coverage data, made into the matrix
    matrix.py       the matrix as data, for the report and for other programs
    command_line.py  what the subcommands share
    merge.py        the gate over all sessions: skipproof merge
    report.py       the report: skipproof report
    doctor.py       what a run would say, without tests: skipproof doctor
    __main__.py     the command skipproof, which has all three
    terminal.py     its table; markdown.py, junit.py and page.py are its other forms, summary.py what they share
    machine.py      which processor a run was on, and with which features

It reads everything that it has to know of a project from its table, and does nothing where there is none.
"""
