"""A pytest plugin for a matrix of environments: it checks what each test did against what its environment promises.

::

    contract.py     what the table says: capabilities, environments, locks, the exact skip reason
    table.py        reads the table and checks it
    table_files.py  the files that may hold it, and its form in each
    detection.py    what is really installed: present, absent or broken; the preflight of a named run
    locks.py        what a lock pins here: requirements, pylock.toml, uv.lock
    drift.py        what is installed against the lock, by package and by file
    search_path.py  folders on the path that are not part of the environment
    canary.py       faults planted in every run, which the gate must find in pytest's own reports
    plugin.py       the pytest hooks: marks, header, skips
    named_run.py    the pytest hooks of a run in a named environment: gates, receipt, summary
    rehearsal.py    a named run that ends with its collection, for doctor
    outcomes.py     what one test did, checked against the contract
    inventory.py    the tests that the files define, compared with those that were collected
    trace.py        the real inference that happened while a test ran
    receipts.py     what a run leaves, and the digests that tie it to its sources and lock
    records.py      dataclasses as JSON and back, for receipts and the matrix
    exits.py        each gate's own exit status
    session_checks.py    reasons to refuse a session's receipt, or several together
    session_coverage.py  the coverage data of a session's processes, in one file that is valid in any folder
    merged_coverage.py   the sessions' coverage data, merged
    exclusions.py   the statements that coverage leaves out
    accepted.py     the accepted list: where each test was proved
    accepted_checks.py   what the list says, against what the sessions prove now
    assembly.py     builds the matrix from receipts and coverage data
    matrix.py       the matrix as data, for the report and for other programs
    command_line.py  what the subcommands share
    merge.py        the gate over all sessions: skipproof merge
    report.py       the report: skipproof report
    accept.py       writes the accepted list: skipproof accept
    doctor.py       what a run would say, without running tests: skipproof doctor
    init/           how a project adopts the plugin: skipproof init
    __main__.py     the command skipproof, with all five
    terminal.py     the matrix as a table; markdown.py, junit.py and page.py render it too, summary.py is shared
    machine.py      the processor of a run, and its features

Everything it needs to know about a project is in the project's table; without one, it does nothing.
"""
