"""What the noxfile asks of this machine; uses only the standard library, because no environment exists yet.

::

    rooms.py       where packages come from, and what a session's room holds
    locks.py       compiles the locks of environments/
    processors.py  how many threads a session may use
    settings.py    the settings in which all real tests have to pass
    repeats.py     repeats tests to find flaky ones
"""
